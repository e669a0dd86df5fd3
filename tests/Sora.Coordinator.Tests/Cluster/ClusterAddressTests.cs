using System.Net;
using System.Net.Sockets;
using Sora.Coordinator.Configuration;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Tests.Cluster;

public sealed class ClusterAddressTests
{
    [Fact]
    public void A_coordinator_behind_address_translation_is_known_by_the_name_it_advertises()
    {
        var (listen, advertise, seeds) = ClusterAddress.Of(Options("0.0.0.0:4053", "one.example:4053", ["one.example:4053", "two.example:4053"]));

        Assert.Equal(("0.0.0.0:4053", "one.example:4053"), (listen.ToString(), advertise.ToString()));
        Assert.Equal(2, seeds.Count);
    }

    [Theory]
    [InlineData("", new[] { "10.0.0.1:4053" }, "reach this one")]
    [InlineData("10.0.0.1:4053", new[] { "10.0.0.2:4053" }, "do not include this one")]
    [InlineData("10.0.0.1", new[] { "10.0.0.1:4053" }, "'10.0.0.1' is not an address")]
    [InlineData("10.0.0.1:4053", new[] { "10.0.0.1:4053", "nonsense" }, "'nonsense' is not an address")]
    public void What_does_not_fit_together_is_a_usage_error(string listen, string[] seeds, string expected)
    {
        var error = Assert.Throws<SoraException>(() => ClusterAddress.Of(Options(listen, "", seeds)));

        Assert.Equal(ExitCode.Usage, error.ExitCode);
        Assert.Contains(expected, error.Message);
    }

    [Fact]
    public void Several_coordinators_without_a_journal_they_share_are_refused()
    {
        var options = Options("10.0.0.1:4053", "", ["10.0.0.1:4053", "10.0.0.2:4053"]) with { JournalConnection = "" };

        Assert.Contains("PostgreSQL", Assert.Throws<SoraException>(() => ClusterAddress.Of(options)).Message);
    }

    [Fact]
    public async Task A_port_for_the_others_that_is_in_use_is_named()
    {
        using var occupant = new TcpListener(IPAddress.Loopback, 0);
        occupant.Start();
        var address = occupant.LocalEndpoint.ToString()!;

        var error = await Assert.ThrowsAsync<SoraException>(() => TestCoordinator.StartAsync(options => options with { ClusterListen = address, ClusterSeeds = [address] }));

        Assert.Equal(ExitCode.Usage, error.ExitCode);
        Assert.Contains(address, error.Message);
    }

    private static CoordinatorOptions Options(string listen, string advertise, string[] seeds) =>
        new() { StateDir = "unused", JournalConnection = "Host=database", ClusterListen = listen, ClusterAdvertise = advertise, ClusterSeeds = seeds };
}
