using System.Text.Json;
using Sora.Federation.Audit;
using Sora.Federation.Identity;

namespace Sora.Cli.Tests.Audit;

public sealed class AuditTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly string _head;

    public AuditTests()
    {
        using var key = IdentityKey.Create();
        KeyFiles.Write(Path.Combine(_folder.Path, "site.key"), key, "a");
        using var log = AuditLog.Open(Path.Combine(_folder.Path, "audit.jsonl"), "a", TimeProvider.System, key, checkpointEvery: 2);
        log.Append(new RoundDecided("chest-1", 1, true, []));
        log.Append(new MessageSent("chest-1", 1, "c", "masked_update", 5000, "h"));
        log.Append(new MessageSent("lungs", 1, "c", "refusal", 7, "h"));
        _head = log.Head;
    }

    public void Dispose() => _folder.Dispose();

    private Task<SoraProcess.Outcome> RunAsync(params string[] args) => SoraProcess.RunAsync(args, _folder.Path);

    [Fact]
    public async Task Verify_says_intact_or_which_line_is_wrong()
    {
        var good = await RunAsync("audit", "verify", "audit.jsonl", "--head", _head, "--key", "site.key.pub");
        Assert.Equal((0, ""), (good.ExitCode, good.Errors));
        Assert.StartsWith("audit.jsonl: intact\n", good.Output);
        Assert.Contains(_head, good.Output);

        var path = Path.Combine(_folder.Path, "audit.jsonl");
        File.WriteAllText(path, File.ReadAllText(path).Replace("\"bytes\":5000", "\"bytes\":50"));
        var bad = await RunAsync("audit", "verify", "audit.jsonl", "--json");
        Assert.Equal(1, bad.ExitCode);
        var problem = Assert.Single(JsonDocument.Parse(bad.Output).RootElement.GetProperty("problems").EnumerateArray());
        Assert.Equal(4, problem.GetProperty("line").GetInt32());
        Assert.Contains("edited", problem.GetProperty("message").GetString());
    }

    [Fact]
    public async Task Show_and_export_tell_what_happened()
    {
        var shown = await RunAsync("audit", "show", "audit.jsonl", "--job", "chest-1", "--kind", "sent", "--json");
        Assert.Equal(5000, JsonDocument.Parse(Assert.Single(shown.Output.TrimEnd().Split('\n'))).RootElement.GetProperty("fields").GetProperty("bytes").GetInt32());

        var exported = await RunAsync("audit", "export", "audit.jsonl", "-o", "report", "--key", "site.key.pub");
        Assert.Equal((0, ""), (exported.ExitCode, exported.Errors));
        Assert.Contains("## Job lungs", File.ReadAllText(Path.Combine(_folder.Path, "report", "audit-report.md")));
        Assert.Equal(2, JsonDocument.Parse(File.ReadAllText(Path.Combine(_folder.Path, "report", "audit-report.json"))).RootElement.GetProperty("jobs").GetArrayLength());
    }

    [Fact]
    public async Task A_log_that_is_not_there_is_a_usage_error() => Assert.Equal(2, (await RunAsync("audit", "verify", "none.jsonl")).ExitCode);
}
