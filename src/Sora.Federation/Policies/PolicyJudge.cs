using System.IO.Enumeration;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Policies;

/// <summary>
/// Judges requests by a policy. Pure. Comparisons are written so that whatever is not a number, not known or not stated breaks the rule.
/// </summary>
public static class PolicyJudge
{
    /// <summary>The name in place of a rule where the request contradicts itself.</summary>
    public const string RequestRule = "request";

    /// <summary>Whether the site takes part in a round, and if not, every reason.</summary>
    public static PolicyDecision Judge(LoadedPolicy policy, RoundRequest request, SiteState state, DateTimeOffset now)
    {
        var ruling = new Ruling(policy);
        var rules = policy.Policy;
        ruling.That("jobs", MatchesAny(rules.Jobs, request.Job), request.Job, List(rules.Jobs));
        ruling.That("coordinators", rules.Coordinators.Contains(request.Coordinator), request.Coordinator, List(rules.Coordinators));
        ruling.That(RequestRule, request.DataSets.Count > 0, "no data set", "at least one");
        foreach (var dataSet in request.DataSets) ruling.That("data_sets", MatchesAny(rules.DataSets, dataSet), dataSet, List(rules.DataSets));
        ruling.That("strategies", rules.Strategies.Contains(request.Strategy), request.Strategy, List(rules.Strategies));
        foreach (var message in request.Messages) ruling.That("messages", MayLeave(rules, message), message, List(rules.Messages));
        JudgeUpdates(ruling, rules.Updates, request, state);
        JudgeClipping(ruling, rules.Privacy, request);
        JudgePrivacy(ruling, rules.Privacy, request.Privacy, state);
        JudgeSecureAggregation(ruling, rules.SecureAggregation, request);
        JudgeMetrics(ruling, rules.Metrics, request);
        if (policy.Hours is { } hours)
            ruling.That("opening_hours.open", hours.IsOpen(now), hours.Clock(now), List(rules.OpeningHours.Open));
        return new PolicyDecision(ruling.Broken);
    }

    /// <summary>Whether a message of a type may leave at all: the last gate, after every decision. Unknown types never may.</summary>
    public static bool MayLeave(SitePolicy policy, string messageType) => policy.Messages.Contains(messageType) && SiteMessages.All.Contains(messageType);

    /// <summary>Whether a metric may leave, in a message whose type may.</summary>
    public static bool MayLeave(SitePolicy policy, MetricRequest metric)
    {
        var ruling = new Ruling(new LoadedPolicy(policy, new Dictionary<string, JobOrigin>(), Hours: null));
        JudgeMetric(ruling, policy.Metrics, metric);
        return ruling.Broken.Count == 0;
    }

    private static void JudgeUpdates(Ruling ruling, UpdateRules rules, RoundRequest request, SiteState state)
    {
        ruling.That(RequestRule, request.Round >= 1 && request.Rounds >= request.Round, $"round {request.Round} of {request.Rounds}", "a round from 1 to the last");
        var allowed = request.Update == UpdateContent.Adapter || (request.Update == UpdateContent.Full && !rules.AdaptersOnly);
        ruling.That("updates.adapters_only", allowed, $"an update of {Name(request.Update)} weights", rules.AdaptersOnly ? "adapter weights" : "adapter or full weights");
        // What the coordinator calls the last round does not bind it, so the site counts as well.
        var rounds = Math.Max(Math.Max(request.Round, request.Rounds), state.RoundsOfJob + 1L);
        ruling.That("updates.max_rounds", rounds <= rules.MaxRounds, $"{rounds} rounds", $"at most {rules.MaxRounds}");
        ruling.Limit("updates.max_local_steps", request.LocalSteps, rules.MaxLocalSteps, least: 1);
        ruling.Limit("updates.max_local_epochs", request.LocalEpochs, rules.MaxLocalEpochs, least: double.Epsilon);
    }

    private static void JudgeClipping(Ruling ruling, PrivacyRules rules, RoundRequest request)
    {
        if (!rules.RequireClipping) return;
        var isClipped = request.ClippingNorm is > 0 and < double.PositiveInfinity;
        ruling.That("privacy.require_clipping", isClipped, request.ClippingNorm is { } norm ? $"a clipping norm of {Spell(norm)}" : "no clipping", "a clipping norm above 0");
        if (isClipped && rules.MaxClippingNorm is { } most)
            ruling.That("privacy.max_clipping_norm", request.ClippingNorm <= most, Spell(request.ClippingNorm!.Value), $"at most {Spell(most)}");
    }

    private static void JudgePrivacy(Ruling ruling, PrivacyRules rules, PrivacyRequest? asked, SiteState state)
    {
        if (!rules.Required) return;
        ruling.That("privacy.required", asked is not null, "no differential privacy", "only with it");
        if (asked is null) return;
        // Math.Max passes NaN on, and NaN is within no limit.
        var epsilon = Math.Max(asked.Epsilon, state.EpsilonOfJob);
        ruling.That(RequestRule, asked.Epsilon >= 0 && state.EpsilonOfJob >= 0 && state.EpsilonOfOtherJobs >= 0, $"epsilon {Spell(asked.Epsilon)} after {Spell(state.EpsilonOfJob)}, others {Spell(state.EpsilonOfOtherJobs)}", "numbers from 0");
        ruling.That("privacy.max_epsilon_per_job", epsilon <= rules.MaxEpsilonPerJob, Spell(epsilon), $"at most {Spell(rules.MaxEpsilonPerJob)}");
        var total = epsilon + state.EpsilonOfOtherJobs;
        ruling.That("privacy.max_epsilon_total", total <= rules.MaxEpsilonTotal, $"{Spell(epsilon)} besides the {Spell(state.EpsilonOfOtherJobs)} of other jobs", $"at most {Spell(rules.MaxEpsilonTotal)} together");
        // A delta of 0 is promised by no Gaussian noise, so it is not what it says.
        ruling.That("privacy.max_delta", asked.Delta > 0 && asked.Delta <= rules.MaxDelta, Spell(asked.Delta), $"above 0 and at most {Spell(rules.MaxDelta)}");
        ruling.That("privacy.min_noise_multiplier", asked.NoiseMultiplier > 0 && asked.NoiseMultiplier >= rules.MinNoiseMultiplier, Spell(asked.NoiseMultiplier), rules.MinNoiseMultiplier > 0 ? $"at least {Spell(rules.MinNoiseMultiplier)}" : "above 0");
        var trusted = asked.Noise == NoiseSource.Site || (asked.Noise == NoiseSource.Coordinator && rules.TrustCoordinatorNoise);
        ruling.That("privacy.trust_coordinator_noise", trusted, $"noise added by the {Name(asked.Noise)}", rules.TrustCoordinatorNoise ? "noise added by the site or the coordinator" : "noise added by the site");
    }

    private static void JudgeSecureAggregation(Ruling ruling, SecureAggregationRules rules, RoundRequest request)
    {
        if (!rules.Required) return;
        ruling.That("secure_aggregation.required", request.SecureAggregation is not null && !request.Messages.Contains(SiteMessages.Update), "an update in the clear", "only masked updates");
        if (request.SecureAggregation is not { } asked) return;
        ruling.That(RequestRule, asked.Threshold <= asked.Cohort, $"a threshold of {asked.Threshold} of {asked.Cohort}", "at most the cohort");
        ruling.That("secure_aggregation.min_cohort", asked.Cohort >= rules.MinCohort, $"{asked.Cohort} sites", $"at least {rules.MinCohort}");
        ruling.That("secure_aggregation.min_threshold", asked.Threshold >= rules.MinThreshold, $"{asked.Threshold} sites", $"at least {rules.MinThreshold}");
    }

    private static void JudgeMetrics(Ruling ruling, MetricsRules rules, RoundRequest request)
    {
        if (request.Metrics.Count > 0)
            ruling.That(RequestRule, request.Messages.Contains(SiteMessages.Metrics), "metrics without a message for them", $"messages of type '{SiteMessages.Metrics}'");
        foreach (var metric in request.Metrics) JudgeMetric(ruling, rules, metric);
    }

    private static void JudgeMetric(Ruling ruling, MetricsRules rules, MetricRequest metric)
    {
        ruling.That("metrics.allowed", MatchesAny(rules.Allowed, metric.Name), metric.Name, List(rules.Allowed));
        ruling.That("metrics.max_digits", metric.Digits >= 1 && metric.Digits <= rules.MaxDigits, $"{metric.Digits} digits of {metric.Name}", $"1 to {rules.MaxDigits}");
        ruling.That("metrics.min_examples", metric.Examples >= rules.MinExamples, $"{metric.Name} over {metric.Examples} examples", $"at least {rules.MinExamples}");
    }

    private static bool MatchesAny(IReadOnlyList<string> patterns, string name) =>
        name.Length > 0 && patterns.Any(pattern => FileSystemName.MatchesSimpleExpression(pattern, name, ignoreCase: false));

    private static string List(IReadOnlyList<string> names) => names.Count == 0 ? "none" : string.Join(", ", names);

    private static string Spell(double value) => JobKey.Spell(value);

    private static string Name<T>(T choice) where T : struct, Enum => Enum.IsDefined(choice) ? choice.ToString().ToLowerInvariant() : $"unknown ({choice:D})";

    /// <summary>Gathers broken rules with their place.</summary>
    private sealed class Ruling(LoadedPolicy policy)
    {
        public List<BrokenRule> Broken { get; } = [];

        public void That(string rule, bool holds, string asked, string allowed)
        {
            if (!holds) Broken.Add(new BrokenRule(rule, policy.OriginOf(rule), asked, allowed));
        }

        /// <summary>What is limited must be stated.</summary>
        public void Limit(string rule, double? asked, double? most, double least)
        {
            if (asked is { } stated) That(RequestRule, stated >= least, $"{rule[(rule.IndexOf("max_", StringComparison.Ordinal) + 4)..]} {Spell(stated)}", "a number above 0");
            if (most is { } limit) That(rule, asked <= limit, asked is { } value ? Spell(value) : "an unstated number", $"at most {Spell(limit)}");
        }
    }
}
