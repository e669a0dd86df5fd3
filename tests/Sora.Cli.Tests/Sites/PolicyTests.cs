using System.Runtime.CompilerServices;
using System.Text.Json;
using Sora.Federation.Policies;

namespace Sora.Cli.Tests.Sites;

public sealed class PolicyTests : IDisposable
{
    private static readonly RoundRequest Request = new()
    {
        Job = "chest-1",
        Coordinator = "sha256:" + new string('0', 64),
        Round = 1,
        Rounds = 20,
        DataSets = ["radiology-reports"],
        Strategy = "fedavg",
        Update = UpdateContent.Adapter,
        LocalSteps = 100,
        ClippingNorm = 1,
        Privacy = new PrivacyRequest(3, 1e-6, 1, NoiseSource.Site),
        SecureAggregation = new SecureAggregationRequest(5, 3),
        Messages = ["join", "masked_update"],
    };

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private static string Example([CallerFilePath] string here = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "../../../examples/federated/policy.yaml"));

    [Fact]
    public async Task A_sound_policy_is_printed_with_every_rule_and_its_place()
    {
        var outcome = await SoraProcess.RunAsync(["policy", "check", Example()]);

        Assert.Equal((0, ""), (outcome.ExitCode, outcome.Errors));
        Assert.Contains("privacy.max_epsilon_per_job:", outcome.Output);
        Assert.Matches(@"updates\.adapters_only: +true +# default", outcome.Output);
        Assert.Matches(@"updates\.max_rounds: +100 +# .*policy\.yaml:\d+:", outcome.Output);
    }

    [Fact]
    public async Task A_request_is_judged_and_a_refusal_is_exit_code_1()
    {
        var fair = _folder.Write("fair.json", RoundRequestJson.Write(Request));
        var greedy = _folder.Write("greedy.json", RoundRequestJson.Write(Request with { Rounds = 101 }));
        // A Saturday.
        var allowed = await SoraProcess.RunAsync(["policy", "check", Example(), "--request", fair, "--at", "2026-11-28T12:00"]);
        var refused = await SoraProcess.RunAsync(["policy", "check", Example(), "--request", greedy, "--at", "2026-11-28T12:00", "--json"]);

        Assert.Equal(0, allowed.ExitCode);
        Assert.EndsWith("allowed\n", allowed.Output);
        Assert.Equal(1, refused.ExitCode);
        var broken = Assert.Single(JsonDocument.Parse(refused.Output).RootElement.GetProperty("broken").EnumerateArray());
        Assert.Equal("updates.max_rounds", broken.GetProperty("rule").GetString());
        Assert.True(broken.GetProperty("line").GetInt32() > 1);
    }

    [Fact]
    public async Task The_errors_of_a_policy_are_listed_as_a_policys()
    {
        var outcome = await SoraProcess.RunAsync(["policy", "check", _folder.Write("policy.yaml", "job: [a]\nupdates: {max_rounds: -1}\n")]);

        Assert.Equal(2, outcome.ExitCode);
        Assert.Contains("the policy has 2 errors:", outcome.Errors);
        Assert.Contains("did you mean 'jobs'?", outcome.Errors);
    }
}
