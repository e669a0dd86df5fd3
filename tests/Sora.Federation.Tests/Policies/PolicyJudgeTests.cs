using CsCheck;
using Sora.Federation.Policies;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Policies;

public sealed class PolicyJudgeTests
{
    private static readonly string Coordinator = "sha256:" + new string('a', 64);

    // A Monday evening in Berlin.
    private static readonly DateTimeOffset Now = new(2026, 1, 5, 19, 30, 0, TimeSpan.Zero);

    private static readonly LoadedPolicy Policy = PolicyFile.LoadText($"""
        jobs: [chest-*]
        coordinators: ["{Coordinator}"]
        data_sets: [reports]
        strategies: [fedavg]
        messages: [join, refusal, keys, shares, masked_update, unmask, metrics]
        privacy:
          max_epsilon_per_job: 4
          max_epsilon_total: 6
          max_delta: 1e-6
          min_noise_multiplier: 0.8
          max_clipping_norm: 1
        updates:
          max_rounds: 10
          max_local_steps: 50
        secure_aggregation:
          min_cohort: 4
          min_threshold: 3
        metrics:
          allowed: [loss]
          min_examples: 200
        opening_hours:
          time_zone: Europe/Berlin
          open: [Mon-Fri 20:00-06:00]
        """, "policy.yaml");

    internal static readonly RoundRequest Fair = new()
    {
        Job = "chest-1",
        Coordinator = Coordinator,
        Round = 3,
        Rounds = 10,
        DataSets = ["reports"],
        Strategy = "fedavg",
        Update = UpdateContent.Adapter,
        LocalSteps = 50,
        ClippingNorm = 1,
        Privacy = new PrivacyRequest(4, 1e-6, 0.8, NoiseSource.Site),
        SecureAggregation = new SecureAggregationRequest(4, 3),
        Messages = [SiteMessages.Join, SiteMessages.MaskedUpdate, SiteMessages.Metrics],
        Metrics = [new MetricRequest("loss", 2, 200)],
    };

    private static PolicyDecision Judge(RoundRequest request, SiteState? state = null, DateTimeOffset? now = null) =>
        PolicyJudge.Judge(Policy, request, state ?? new SiteState(3.5, 2, 2), now ?? Now);

    [Fact]
    public void A_request_within_every_limit_is_allowed() => Assert.Empty(Judge(Fair).Broken);

    public static TheoryData<string, string, RoundRequest> Unfair => new()
    {
        { "jobs", "lungs", Fair with { Job = "lungs" } },
        { "jobs", "", Fair with { Job = "" } },
        { "coordinators", "sha256:b", Fair with { Coordinator = "sha256:b" } },
        { "data_sets", "letters", Fair with { DataSets = ["reports", "letters"] } },
        { "request", "no data set", Fair with { DataSets = [] } },
        { "strategies", "scaffold", Fair with { Strategy = "scaffold" } },
        { "messages", "raw_text", Fair with { Messages = ["raw_text", SiteMessages.Metrics] } },
        { "updates.adapters_only", "full", Fair with { Update = UpdateContent.Full } },
        { "updates.adapters_only", "unknown (7)", Fair with { Update = (UpdateContent)7 } },
        { "updates.max_rounds", "11 rounds", Fair with { Rounds = 11 } },
        { "request", "round 0 of 10", Fair with { Round = 0 } },
        { "request", "round 4 of 3", Fair with { Round = 4, Rounds = 3 } },
        { "updates.max_local_steps", "51", Fair with { LocalSteps = 51 } },
        { "updates.max_local_steps", "an unstated number", Fair with { LocalSteps = null, LocalEpochs = 1 } },
        { "request", "local_steps -1", Fair with { LocalSteps = -1 } },
        { "request", "local_epochs nan", Fair with { LocalEpochs = double.NaN } },
        { "privacy.required", "no differential privacy", Fair with { Privacy = null } },
        { "privacy.require_clipping", "no clipping", Fair with { ClippingNorm = null } },
        { "privacy.require_clipping", "infinity", Fair with { ClippingNorm = double.PositiveInfinity } },
        { "privacy.max_clipping_norm", "1.5", Fair with { ClippingNorm = 1.5 } },
        { "privacy.max_epsilon_per_job", "4.1", Fair with { Privacy = Fair.Privacy! with { Epsilon = 4.1 } } },
        { "privacy.max_delta", "1e-05", Fair with { Privacy = Fair.Privacy! with { Delta = 1e-5 } } },
        { "privacy.max_delta", "0", Fair with { Privacy = Fair.Privacy! with { Delta = 0 } } },
        { "privacy.min_noise_multiplier", "0.7", Fair with { Privacy = Fair.Privacy! with { NoiseMultiplier = 0.7 } } },
        { "privacy.min_noise_multiplier", "nan", Fair with { Privacy = Fair.Privacy! with { NoiseMultiplier = double.NaN } } },
        { "privacy.trust_coordinator_noise", "coordinator", Fair with { Privacy = Fair.Privacy! with { Noise = NoiseSource.Coordinator } } },
        { "privacy.trust_coordinator_noise", "unknown (9)", Fair with { Privacy = Fair.Privacy! with { Noise = (NoiseSource)9 } } },
        { "secure_aggregation.required", "in the clear", Fair with { SecureAggregation = null } },
        { "secure_aggregation.min_cohort", "3 sites", Fair with { SecureAggregation = new(3, 3) } },
        { "secure_aggregation.min_threshold", "2 sites", Fair with { SecureAggregation = new(4, 2) } },
        { "request", "threshold of 5 of 4", Fair with { SecureAggregation = new(4, 5) } },
        { "metrics.allowed", "first_sentence", Fair with { Metrics = [new("first_sentence", 2, 200)] } },
        { "metrics.max_digits", "17 digits", Fair with { Metrics = [new("loss", 17, 200)] } },
        { "metrics.min_examples", "over 1 examples", Fair with { Metrics = [new("loss", 2, 1)] } },
        { "request", "metrics without", Fair with { Messages = [SiteMessages.Join] } },
    };

    [Theory]
    [MemberData(nameof(Unfair))]
    public void A_request_over_one_limit_is_refused_with_just_that_rule(string rule, string asked, RoundRequest request)
    {
        var broken = Judge(request).Broken.Where(broken => broken.Rule == rule).ToArray();

        Assert.Contains(asked, Assert.Single(broken).Asked);
        Assert.All(Judge(request).Broken, other => Assert.True(other.Rule == rule || rule == "request" || other.Rule.StartsWith("privacy", StringComparison.Ordinal), other.ToString()));
    }

    [Fact]
    public void A_refusal_names_every_broken_rule_with_its_line_what_was_asked_and_what_is_allowed()
    {
        var broken = Judge(Fair with { Rounds = 99, Update = UpdateContent.Full, Privacy = Fair.Privacy! with { Epsilon = 5 } }).Broken;

        Assert.Equal(
            [
                "updates.adapters_only (default): asked an update of full weights, allowed adapter weights",
                "updates.max_rounds (policy.yaml:13:15): asked 99 rounds, allowed at most 10",
                "privacy.max_epsilon_per_job (policy.yaml:7:24): asked 5, allowed at most 4",
                "privacy.max_epsilon_total (policy.yaml:8:22): asked 5 besides the 2 of other jobs, allowed at most 6 together",
            ],
            broken.Select(rule => rule.ToString()));
    }

    [Fact]
    public void The_sites_own_ledger_counts_whatever_the_coordinator_says()
    {
        Assert.Equal("privacy.max_epsilon_total", Assert.Single(Judge(Fair, new SiteState(0, 2.5, 0)).Broken).Rule);
        Assert.Equal("privacy.max_epsilon_per_job", Judge(Fair with { Privacy = Fair.Privacy! with { Epsilon = 0.1 } }, new SiteState(4.5, 0, 0)).Broken[0].Rule);
        Assert.Equal("updates.max_rounds", Assert.Single(Judge(Fair with { Round = 1, Rounds = 1 }, new SiteState(0, 0, 10)).Broken).Rule);
        Assert.Contains(Judge(Fair, new SiteState(double.NaN, 0, 0)).Broken, broken => broken.Rule == "privacy.max_epsilon_per_job");
        Assert.Contains(Judge(Fair, new SiteState(0, double.NaN, 0)).Broken, broken => broken.Rule == "privacy.max_epsilon_total");
        Assert.NotEmpty(Judge(Fair, new SiteState(0, -100, 0)).Broken);
        Assert.Contains(Judge(Fair, new SiteState(0, 0, int.MaxValue)).Broken, broken => broken.Rule == "updates.max_rounds");
    }

    [Fact]
    public void Outside_the_hours_nothing_runs()
    {
        var broken = Assert.Single(Judge(Fair, now: Now.AddHours(12)).Broken);

        Assert.Equal("opening_hours.open (policy.yaml:23:9): asked Tue 08:30 in Europe/Berlin, allowed Mon-Fri 20:00-06:00", broken.ToString());
    }

    [Fact]
    public void An_empty_policy_refuses_every_request()
    {
        var empty = PolicyFile.LoadText("", "policy.yaml");
        var gen = Gen.Select(Gen.String, Gen.String.Array[0, 3], Gen.Double, Gen.Int, Gen.Bool, (job, dataSets, number, count, flag) => Fair with
        {
            Job = job,
            DataSets = dataSets,
            Rounds = count,
            Round = count,
            ClippingNorm = number,
            Privacy = flag ? null : new PrivacyRequest(number, number, number, NoiseSource.Coordinator),
        });

        gen.Sample(request => Assert.False(PolicyJudge.Judge(empty, request, SiteState.Fresh, Now).IsAllowed), iter: 300);
    }

    [Fact]
    public void Asking_for_more_never_turns_a_refusal_into_a_yes()
    {
        var gen = Gen.Select(Gen.Double[0, 8], Gen.Double[0, 4], Gen.Int[1, 20], Gen.Int[1, 100], Gen.Double[0, 3]);

        gen.Sample((epsilon, more, rounds, steps, noise) =>
        {
            var asked = Fair with { Round = 1, Rounds = rounds, LocalSteps = steps, Privacy = new PrivacyRequest(epsilon, 1e-7, noise, NoiseSource.Site) };
            var askedMore = asked with { Rounds = rounds + 1, Privacy = asked.Privacy! with { Epsilon = epsilon + more, NoiseMultiplier = noise / (1 + more) } };
            Assert.True(Judge(asked, SiteState.Fresh).IsAllowed || !Judge(askedMore, SiteState.Fresh).IsAllowed);
        }, iter: 500);
    }

    [Fact]
    public void What_a_policy_does_not_demand_is_not_judged()
    {
        var open = PolicyFile.LoadText($$"""
            jobs: ["*"]
            coordinators: ["{{Coordinator}}"]
            data_sets: ["*"]
            messages: [join, update]
            privacy: {required: false, require_clipping: false}
            secure_aggregation: {required: false}
            updates: {adapters_only: false, max_rounds: 5}
            """, "policy.yaml");
        var plain = Fair with { Rounds = 5, Update = UpdateContent.Full, Privacy = null, ClippingNorm = null, SecureAggregation = null, Messages = ["join", "update"], Metrics = [] };

        Assert.Empty(PolicyJudge.Judge(open, plain, SiteState.Fresh, Now).Broken);
    }

    [Fact]
    public void Only_listed_types_of_messages_may_leave()
    {
        Assert.True(PolicyJudge.MayLeave(Policy.Policy, SiteMessages.MaskedUpdate));
        Assert.False(PolicyJudge.MayLeave(Policy.Policy, SiteMessages.Update));
        Assert.False(PolicyJudge.MayLeave(Policy.Policy, "Masked_Update"));
        // Not even when somebody made a policy without the file.
        Assert.False(PolicyJudge.MayLeave(new SitePolicy { Messages = ["raw_text"] }, "raw_text"));
    }

    [Theory]
    [InlineData(2.3456, 2, 2.3)]
    [InlineData(0.00123456, 2, 0.0012)]
    [InlineData(98765, 1, 100000)]
    [InlineData(0, 3, 0)]
    [InlineData(-1.55, 1, -2)]
    public void Metrics_leave_as_coarse_as_the_policy_says(double value, int digits, double expected) =>
        Assert.Equal(expected, new MetricsRules { MaxDigits = digits }.Coarsen(value));

    [Fact]
    public void A_request_survives_json_and_one_with_anything_unknown_is_refused()
    {
        var json = RoundRequestJson.Write(Fair);

        Assert.Equal(json, RoundRequestJson.Write(RoundRequestJson.Parse(json)));
        Assert.Empty(Judge(RoundRequestJson.Parse(json)).Broken);
        foreach (var wrong in new[]
        {
            "{", "null", "[]", "{}",
            json.Replace("\"job\"", "\"jobs\""),
            json.Replace("{\"job\"", "{\"job\":\"x\",\"job\""),
            json.Replace("\"adapter\"", "\"everything\""),
            json.Replace("\"adapter\"", "1"),
            json.Replace("[\"reports\"]", "[null]"),
            json.Replace("[\"reports\"]", "null"),
        })
            Assert.Equal(ExitCode.InvalidInput, Assert.Throws<SoraException>(() => RoundRequestJson.Parse(wrong)).ExitCode);
    }
}
