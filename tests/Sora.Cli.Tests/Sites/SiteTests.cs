using System.Text.Json;

namespace Sora.Cli.Tests.Sites;

public sealed class SiteTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private Task<SoraProcess.Outcome> RunAsync(params string[] args) => SoraProcess.RunAsync(args, _folder.Path);

    private static JsonElement Parse(string line) => JsonDocument.Parse(line).RootElement;

    [Fact]
    public async Task A_site_is_made_registered_listed_and_revoked()
    {
        var made = Parse((await RunAsync("site", "keygen", "hospital-a", "--json")).Output);
        var fingerprint = made.GetProperty("fingerprint").GetString()!;
        Assert.Equal(Path.Combine(_folder.Path, "hospital-a.key"), made.GetProperty("private_key").GetString());

        var again = await RunAsync("site", "keygen", "hospital-a");
        Assert.Equal(2, again.ExitCode);
        Assert.Contains("never overwritten", again.Errors);

        var wrong = await RunAsync("site", "register", "hospital-a.key.pub", "--fingerprint", "sha256:00");
        Assert.Equal(4, wrong.ExitCode);
        Assert.False(File.Exists(Path.Combine(_folder.Path, "sites.json")));

        var registered = await RunAsync("site", "register", "hospital-a.key.pub", "--fingerprint", fingerprint, "--by", "eve", "--expires", "2999-01-31");
        Assert.Equal((0, ""), (registered.ExitCode, registered.Errors));
        Assert.Contains("until 2999-01-31 00:00:00Z", registered.Output);

        var revoked = await RunAsync("site", "revoke", "hospital-a", "--reason", "lost", "--json");
        Assert.Equal("lost", Parse(revoked.Output).GetProperty("revoked").GetProperty("reason").GetString());

        var listed = await RunAsync("site", "list");
        Assert.Matches($"^hospital-a  {fingerprint}  registered .* by eve  REVOKED .*: lost\n$", listed.Output);
    }

    [Fact]
    public async Task Certificates_are_made_in_one_command()
    {
        var made = await RunAsync("site", "certificates", "--out", "certs", "--host", "trainer.example.org", "--site", "a", "--site", "b", "--json");

        Assert.Equal((0, ""), (made.ExitCode, made.Errors));
        Assert.Equal(["ca", "coordinator", "a", "b"], made.Output.TrimEnd().Split('\n').Select(line => Parse(line).GetProperty("name").GetString()));
        Assert.Equal(8, Directory.GetFiles(Path.Combine(_folder.Path, "certs")).Length);
    }
}
