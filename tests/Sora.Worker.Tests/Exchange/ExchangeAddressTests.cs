using System.Net;
using System.Net.Sockets;
using Sora.Protocol.Jobs;
using Sora.Worker.Exchange;

namespace Sora.Worker.Tests.Exchange;

public sealed class ExchangeAddressTests
{
    private static readonly string Folder = Path.GetTempPath();

    [Theory]
    [InlineData("", "", "tcp:127.0.0.1:7000")]
    [InlineData("127.0.0.2", "", "tcp:127.0.0.2:7000")]
    [InlineData("0.0.0.0", "", "tcp:127.0.0.1:7000")] // nobody can dial all addresses
    [InlineData("", "trainer.example", "tcp:trainer.example:7000")]
    [InlineData("", "trainer.example:31000", "tcp:trainer.example:31000")]
    [InlineData("0.0.0.0:7000", "10.1.2.3:31000", "tcp:10.1.2.3:31000")]
    [InlineData("", "fd00::7", "tcp:[fd00::7]:7000")]
    [InlineData("", "[fd00::7]:31000", "tcp:[fd00::7]:31000")]
    public void Endpoint_OfWhatWasAskedFor_IsWhatPeersDial(string bind, string advertise, string dialled)
    {
        var address = ExchangeAddress.Of(Options(bind, advertise), Folder);
        var endpoint = address.Endpoint(new IPEndPoint(address.Tcp.Address, 7000));
        Assert.Equal(dialled, endpoint);
        _ = ExchangeEndpoint.Parse(endpoint);
    }

    [Fact]
    public void Of_AdvertisedAddress_IsTheOnlyWay() =>
        Assert.Null(ExchangeAddress.Of(Options("", "trainer.example:31000"), Folder).SocketPath);

    [Theory]
    [InlineData("trainer.example", "")] // an address of this machine is needed, not a name
    [InlineData("10.0.0.7:70000", "")]
    [InlineData("", "http://trainer.example")]
    [InlineData("", "trainer.example:0")]
    [InlineData("", "trainer.example:port")]
    [InlineData("", "trainer.example/path")]
    [InlineData("", ":5500")]
    public void Of_WhatIsNoAddress_IsRefusedAsSuch(string bind, string advertise)
    {
        var refused = Assert.Throws<SoraException>(() => ExchangeAddress.Of(Options(bind, advertise), Folder));
        Assert.Equal(ExitCode.Usage, refused.ExitCode);
        Assert.Contains(bind + advertise, refused.Message);
    }

    [Fact]
    public void Listener_OnAPortSomebodyElseUses_SaysSo()
    {
        using var other = new TcpListener(IPAddress.Loopback, 0);
        other.Start();
        var refused = Assert.Throws<SoraException>(() => new ExchangeListener(ExchangeAddress.Of(Options($"{other.LocalEndpoint}", ""), Directory.CreateTempSubdirectory("sora-").FullName)));
        Assert.Contains("--bind", refused.Message);
    }

    private static WorkerOptions Options(string bind, string advertise) => new()
    {
        Coordinators = [new Uri("http://127.0.0.1:5400")],
        Token = "token",
        BindAddress = bind,
        AdvertisedAddress = advertise,
    };
}
