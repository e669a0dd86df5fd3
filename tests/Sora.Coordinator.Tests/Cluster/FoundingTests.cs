using Akka.Cluster;
using Sora.Coordinator.Configuration;

namespace Sora.Coordinator.Tests.Cluster;

[Collection(nameof(PostgresServer))]
public sealed class FoundingTests(PostgresServer postgres)
{
    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 1)]
    [InlineData(3, 2)]
    [InlineData(4, 3)]
    [InlineData(5, 3)]
    public void A_cluster_of_three_or_more_needs_a_majority_to_begin(int seeds, int majority) => Assert.Equal(majority, ClusterFounding.Majority(seeds));

    [Fact]
    public async Task One_that_waits_for_the_first_seed_says_so_instead_of_the_framework()
    {
        using var patience = TestCoordinator.Patience();
        var log = new WarningLog();
        string[] seeds = [$"127.0.0.1:{Ports.Free()}", $"127.0.0.1:{Ports.Free()}", $"127.0.0.1:{Ports.Free()}"];
        var journal = await postgres.CreateDatabaseAsync();
        await using var coordinator = await TestCoordinator.StartAsync(options => options with
        {
            JournalConnection = journal,
            ClusterListen = seeds[1],
            ClusterSeeds = seeds,
            FoundingLimit = TimeSpan.FromSeconds(12),
            LoggerFactory = log,
        });
        while (!log.Lines.Any(line => line.Contains($"waits for the first of --seeds, {seeds[0]}", StringComparison.Ordinal)))
            await Task.Delay(50, patience.Token);

        Assert.DoesNotContain(log.Lines, line => line.Contains("no seed-nodes configured", StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_first_seed_started_again_while_it_is_cut_off_founds_no_second_cluster_and_joins_when_the_cut_is_mended()
    {
        using var patience = TestCoordinator.Patience();
        await using var cluster = await TestCluster.StartAsync(
            await postgres.CreateDatabaseAsync(), options => options with { FoundingLimit = TimeSpan.FromSeconds(8) }, behindGates: true);
        await cluster.CrashAsync(cluster.Hosts[0]);
        cluster.Cut(true);

        await using (var alone = await cluster.StartAgainAsync(0))
        {
            var (system, _) = await alone.Actors;
            var began = false;
            Akka.Cluster.Cluster.Get(system).RegisterOnMemberUp(() => began = true);
            await alone.WaitForEndAsync(patience.Token);
            Assert.False(began);
        }
        // The others are a cluster meanwhile, and stay one.
        foreach (var host in cluster.Hosts)
            Assert.Contains(Akka.Cluster.Cluster.Get((await host.Actors).System).State.Members, member => member.Status == MemberStatus.Up);

        cluster.Cut(false);
        cluster.Hosts.Add(await cluster.StartAgainAsync(0));
        await cluster.IsUpAsync();
    }
}
