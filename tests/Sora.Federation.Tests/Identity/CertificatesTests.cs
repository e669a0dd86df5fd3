using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Sora.Federation.Identity;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Identity;

public sealed class CertificatesTests : IDisposable
{
    private static readonly DateTimeOffset Now = TimeProvider.System.GetUtcNow();

    private readonly TemporaryFolder _folder = new();
    private readonly CertificateAuthority _authority = CertificateAuthority.Create("ours", Now.AddDays(-30), Now.AddDays(30));

    public void Dispose()
    {
        _folder.Dispose();
        _authority.Dispose();
    }

    [Theory]
    [InlineData("localhost")]
    [InlineData("127.0.0.1")]
    [InlineData("::1")]
    [InlineData("trainer.example.org")]
    public async Task Coordinator_and_site_shake_hands_under_every_name_of_the_certificate(string host)
    {
        using var server = _authority.IssueServer(["trainer.example.org"], Now, Now.AddDays(1));
        using var client = _authority.IssueClient("hospital-a", Now, Now.AddDays(1));

        Assert.Equal("hospital-a", await ShakeAsync(server, _authority, client, _authority, host));
    }

    [Fact]
    public async Task A_site_of_another_authority_is_refused()
    {
        using var foreign = CertificateAuthority.Create("ours", Now.AddDays(-30), Now.AddDays(30));
        using var server = _authority.IssueServer([], Now, Now.AddDays(1));
        using var client = foreign.IssueClient("hospital-a", Now, Now.AddDays(1));

        await Assert.ThrowsAsync<AuthenticationException>(() => ShakeAsync(server, _authority, client, _authority, "localhost"));
    }

    [Fact]
    public async Task A_coordinator_of_another_authority_is_refused()
    {
        using var foreign = CertificateAuthority.Create("ours", Now.AddDays(-30), Now.AddDays(30));
        using var server = foreign.IssueServer([], Now, Now.AddDays(1));
        using var client = _authority.IssueClient("hospital-a", Now, Now.AddDays(1));

        await Assert.ThrowsAsync<AuthenticationException>(() => ShakeAsync(server, _authority, client, _authority, "localhost"));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task An_expired_certificate_is_refused(bool isTheSites)
    {
        var (from, until) = (Now.AddDays(-20), Now.AddDays(-10));
        using var server = _authority.IssueServer([], isTheSites ? Now : from, isTheSites ? Now.AddDays(1) : until);
        using var client = _authority.IssueClient("hospital-a", isTheSites ? from : Now, isTheSites ? until : Now.AddDays(1));

        await Assert.ThrowsAsync<AuthenticationException>(() => ShakeAsync(server, _authority, client, _authority, "localhost"));
    }

    [Fact]
    public async Task A_certificate_is_good_for_its_own_side_and_name_only()
    {
        using var server = _authority.IssueServer([], Now, Now.AddDays(1));
        using var client = _authority.IssueClient("hospital-a", Now, Now.AddDays(1));

        await Assert.ThrowsAsync<AuthenticationException>(() => ShakeAsync(server, _authority, server, _authority, "localhost"));
        await Assert.ThrowsAsync<AuthenticationException>(() => ShakeAsync(client, _authority, client, _authority, "localhost"));
        await Assert.ThrowsAsync<AuthenticationException>(() => ShakeAsync(server, _authority, client, _authority, "elsewhere.example.org"));
        Assert.Null(MutualTls.SiteOf(server));
    }

    [Fact]
    public async Task A_site_without_a_certificate_is_refused()
    {
        using var server = _authority.IssueServer([], Now, Now.AddDays(1));

        await Assert.ThrowsAsync<AuthenticationException>(() => ShakeAsync(server, _authority, null, _authority, "localhost"));
    }

    [Fact]
    public async Task The_folder_has_all_that_mutual_TLS_needs_and_takes_further_sites()
    {
        var made = CertificateFolder.Write(_folder.Path, ["trainer.example.org"], ["a"], Now, TimeSpan.FromDays(7));
        var later = CertificateFolder.Write(_folder.Path, [], ["b"], Now, TimeSpan.FromDays(7));

        Assert.Equal(["ca", "coordinator", "a"], made.Select(one => one.Name));
        Assert.Equal(["b"], later.Select(one => one.Name));
        if (!OperatingSystem.IsWindows())
            foreach (var file in Directory.GetFiles(_folder.Path, "*.key")) Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
        using var authority = CertificateAuthority.FromPem(File.ReadAllText(_folder.File("ca.pem")), File.ReadAllText(_folder.File("ca.key")));
        using var server = Load("coordinator");
        using var site = Load("b");
        Assert.Equal("b", await ShakeAsync(server, authority, site, authority, "trainer.example.org"));
    }

    [Fact]
    public void Nothing_in_the_folder_is_overwritten()
    {
        CertificateFolder.Write(_folder.Path, [], ["a"], Now, TimeSpan.FromDays(7));
        var before = Directory.GetFiles(_folder.Path).ToDictionary(file => file, File.ReadAllText);

        Assert.Throws<SoraException>(() => CertificateFolder.Write(_folder.Path, [], ["a"], Now, TimeSpan.FromDays(7)));
        Assert.Throws<SoraException>(() => CertificateFolder.Write(_folder.Path, ["other.example.org"], [], Now, TimeSpan.FromDays(7)));
        Assert.Throws<SoraException>(() => CertificateFolder.Write(_folder.Path, [], ["../x"], Now, TimeSpan.FromDays(7)));
        Assert.Throws<SoraException>(() => CertificateFolder.Write(_folder.Path, [], ["ca"], Now, TimeSpan.FromDays(7)));
        Assert.Throws<SoraException>(() => CertificateFolder.Write(_folder.Path, [], ["b"], Now.AddDays(8), TimeSpan.FromDays(7)));
        Assert.Empty(CertificateFolder.Write(_folder.Path, [], [], Now, TimeSpan.FromDays(7)));
        Assert.Equal(before, Directory.GetFiles(_folder.Path).ToDictionary(file => file, File.ReadAllText));
    }

    private X509Certificate2 Load(string name)
    {
        using var read = X509Certificate2.CreateFromPemFile(_folder.File(name + ".pem"), _folder.File(name + ".key"));
        return X509CertificateLoader.LoadPkcs12(read.Export(X509ContentType.Pkcs12), null);
    }

    /// <summary>A real handshake and a byte each way.</summary>
    /// <returns>The site that the coordinator saw.</returns>
    private static async Task<string?> ShakeAsync(X509Certificate2 server, CertificateAuthority serversAuthority, X509Certificate2? client, CertificateAuthority clientsAuthority, string host)
    {
        var cancel = TestContext.Current.CancellationToken;
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var dialled = new TcpClient();
        await dialled.ConnectAsync((IPEndPoint)listener.LocalEndpoint, cancel);
        using var accepted = await listener.AcceptTcpClientAsync(cancel);
        await using var coordinator = new SslStream(accepted.GetStream());
        await using var site = new SslStream(dialled.GetStream());
        var clientOptions = client is null
            ? new SslClientAuthenticationOptions { TargetHost = host, RemoteCertificateValidationCallback = (_, _, _, _) => true }
            : MutualTls.Client(client, clientsAuthority.Certificate, host);

        Task[] sides =
        [
            CloseUnlessGoodAsync(coordinator.AuthenticateAsServerAsync(MutualTls.Server(server, serversAuthority.Certificate), cancel), accepted),
            CloseUnlessGoodAsync(site.AuthenticateAsClientAsync(clientOptions, cancel), dialled),
        ];
        await Task.WhenAll(sides).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        // One side's refusal is the other's broken connection, which is not what a test asks about.
        if (sides.Select(side => side.Exception?.InnerException).OfType<AuthenticationException>().FirstOrDefault() is { } refused) throw refused;
        await Task.WhenAll(sides);
        await coordinator.WriteAsync(new byte[] { 7 }, cancel);
        await site.WriteAsync(new byte[] { 8 }, cancel);
        Assert.Equal((8, 7), (coordinator.ReadByte(), site.ReadByte()));
        return MutualTls.SiteOf((X509Certificate2)coordinator.RemoteCertificate!);
    }

    private static async Task CloseUnlessGoodAsync(Task handshake, TcpClient own)
    {
        try
        {
            await handshake;
        }
        catch
        {
            own.Close();
            throw;
        }
    }
}
