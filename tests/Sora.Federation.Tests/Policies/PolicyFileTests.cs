using System.Runtime.CompilerServices;
using Sora.Federation.Policies;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Policies;

public sealed class PolicyFileTests
{
    private static string[] ErrorsOf(string yaml) =>
        Assert.Throws<JobErrors>(() => PolicyFile.LoadText(yaml, "policy.yaml")).Errors.Select(error => error.ToString()).ToArray();

    [Fact]
    public void An_empty_policy_is_sound_and_allows_nothing_that_leaks()
    {
        var policy = PolicyFile.LoadText("", "policy.yaml").Policy;

        Assert.Empty(policy.Jobs);
        Assert.Empty(policy.Coordinators);
        Assert.Empty(policy.DataSets);
        Assert.Equal((true, 0.0, 0.0, 0.0, true, false), (policy.Privacy.Required, policy.Privacy.MaxEpsilonPerJob, policy.Privacy.MaxEpsilonTotal, policy.Privacy.MaxDelta, policy.Privacy.RequireClipping, policy.Privacy.TrustCoordinatorNoise));
        Assert.Equal((true, 0), (policy.Updates.AdaptersOnly, policy.Updates.MaxRounds));
        Assert.True(policy.SecureAggregation.Required);
        Assert.DoesNotContain(SiteMessages.Update, policy.Messages);
        Assert.DoesNotContain(SiteMessages.Metrics, policy.Messages);
        Assert.Empty(policy.Metrics.Allowed);
    }

    [Fact]
    public void The_example_is_sound()
    {
        var loaded = PolicyFile.Load(Path.Combine(Root(), "examples/federated/policy.yaml"));

        Assert.Equal(["chest-*"], loaded.Policy.Jobs);
        Assert.Equal("Europe/Berlin", loaded.Hours!.Zone.Id);
    }

    [Fact]
    public void All_errors_come_together_with_their_lines_and_the_nearest_name()
    {
        var errors = ErrorsOf("""
            job: [x]
            privacy:
              max_epsilon: 3
              max_delta: 2
            strategies: [fed-avg]
            secure_aggregation: {min_cohort: many}
            """);

        Assert.Equal(5, errors.Length);
        Assert.Contains("policy.yaml:1:1: unknown key 'job'; did you mean 'jobs'?", errors[0]);
        Assert.StartsWith("policy.yaml:3:3: unknown key 'privacy.max_epsilon'", errors[1]);
        Assert.StartsWith("policy.yaml:4:14: 'privacy.max_delta' is 2: use a number from 0 to below 1", errors[2]);
        Assert.Contains("policy.yaml:5:13", errors[3]);
        Assert.Contains("the nearest is 'fedavg'", errors[3]);
        Assert.StartsWith("policy.yaml:6:34", errors[4]);
    }

    [Theory]
    [InlineData("jobs: ['']", "an entry is empty")]
    [InlineData("coordinators: [sha256:12]", "is no fingerprint")]
    [InlineData("strategies: [zzzzzzzz]", "there are fedavg, fedavgm")]
    [InlineData("messages: [raw_text]", "there is no 'raw_text'")]
    [InlineData("messages: [update]", "forbids")]
    [InlineData("privacy: {max_epsilon_per_job: -1}", "use 0 or more")]
    [InlineData("privacy: {max_clipping_norm: 0}", "above 0")]
    [InlineData("privacy: {require_clipping: false}", "needs clipping")]
    [InlineData("privacy: {required: false, max_epsilon_total: 3}", "binds only with privacy.required: true")]
    [InlineData("updates: {max_rounds: -1}", "use 0 or more")]
    [InlineData("updates: {max_local_steps: 0}", "use 1 or more")]
    [InlineData("secure_aggregation: {min_cohort: 2}", "use 3 or more")]
    [InlineData("secure_aggregation: {min_threshold: 4}", "from 2 to min_cohort")]
    [InlineData("secure_aggregation: {required: false, min_cohort: 5}", "binds only with secure_aggregation.required: true")]
    [InlineData("opening_hours: {open: [Mon 10:00-12:00]}", "say which zone")]
    [InlineData("opening_hours: {time_zone: Europe/Atlantis, open: [Mon 10:00-12:00]}", "no such zone")]
    [InlineData("opening_hours: {time_zone: UTC, open: [Mon 10-12]}", "is no time")]
    [InlineData("metrics: {allowed: [loss]}", "add it there")]
    [InlineData("metrics: {max_digits: 0}", "from 1 to 17")]
    public void What_nobody_could_rely_on_is_refused_with_what_to_do(string yaml, string advice) => Assert.Contains(advice, Assert.Single(ErrorsOf(yaml)));

    [Fact]
    public void Every_key_is_documented()
    {
        var page = File.ReadAllText(Path.Combine(Root(), "docs/federated.md"));

        Assert.All(PolicyFile.Keys, key => Assert.Contains($"| `{key.Path}` |", page));
    }

    private static string Root([CallerFilePath] string here = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "../../.."));
}
