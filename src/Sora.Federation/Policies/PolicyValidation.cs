using Sora.Federation.Identity;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Policies;

/// <summary>What must hold between the values of a policy: mostly that nobody reads a rule into it that does not bind.</summary>
internal static class PolicyValidation
{
    public static IEnumerable<JobError> Check(LoadedSettings<SitePolicy> loaded)
    {
        var check = new Checker(loaded);
        var policy = loaded.Settings;
        foreach (var key in new[] { "jobs", "coordinators", "data_sets", "strategies", "messages", "metrics.allowed" })
            check.NoEmptyWords(key);
        foreach (var fingerprint in policy.Coordinators.Where(text => text.Length > 0))
            check.That("coordinators", Fingerprint.IsFingerprint(fingerprint), $"'{fingerprint}' is no fingerprint: write sha256: and 64 hexadecimal digits in lower case, as 'sora site keygen' prints them");
        check.Known("strategies", policy.Strategies, StrategyNames.All);
        check.Known("messages", policy.Messages, SiteMessages.All);
        CheckPrivacy(check, policy.Privacy);
        CheckUpdates(check, policy);
        CheckSecureAggregation(check, policy);
        CheckHours(check, policy.OpeningHours);
        CheckMetrics(check, policy);
        return check.Errors;
    }

    private static void CheckPrivacy(Checker check, PrivacyRules rules)
    {
        check.AtLeast("privacy.max_epsilon_per_job", rules.MaxEpsilonPerJob, 0);
        check.AtLeast("privacy.max_epsilon_total", rules.MaxEpsilonTotal, 0);
        check.That("privacy.max_delta", rules.MaxDelta is >= 0 and < 1, "use a number from 0 to below 1, for example 1e-6");
        check.AtLeast("privacy.min_noise_multiplier", rules.MinNoiseMultiplier, 0);
        check.That("privacy.max_clipping_norm", rules.MaxClippingNorm is null or > 0, "use a number above 0, or leave it out");
        check.That("privacy.max_clipping_norm", rules.MaxClippingNorm is null || rules.RequireClipping, "it binds only with privacy.require_clipping: true");
        check.That("privacy.require_clipping", rules.RequireClipping || !rules.Required, "differential privacy needs clipping; leave it out, or set privacy.required: false");
        if (rules.Required) return;
        foreach (var key in new[] { "max_epsilon_per_job", "max_epsilon_total", "max_delta", "min_noise_multiplier", "trust_coordinator_noise" })
            check.Binds($"privacy.{key}", "privacy.required");
    }

    private static void CheckUpdates(Checker check, SitePolicy policy)
    {
        check.AtLeast("updates.max_rounds", policy.Updates.MaxRounds, 0);
        check.That("updates.max_local_steps", policy.Updates.MaxLocalSteps is null or >= 1, "use 1 or more, or leave it out");
        check.That("updates.max_local_epochs", policy.Updates.MaxLocalEpochs is null or > 0, "use a number above 0, or leave it out");
    }

    private static void CheckSecureAggregation(Checker check, SitePolicy policy)
    {
        var rules = policy.SecureAggregation;
        // A sum of one is that one, and of two each of them can take its own part off.
        check.AtLeast("secure_aggregation.min_cohort", rules.MinCohort, 3);
        check.That("secure_aggregation.min_threshold", rules.MinThreshold >= 2 && rules.MinThreshold <= Math.Max(2, rules.MinCohort), $"use a number from 2 to min_cohort, which is {rules.MinCohort}");
        check.That("messages", !rules.Required || !policy.Messages.Contains(SiteMessages.Update),
            $"'{SiteMessages.Update}' is what secure_aggregation.required forbids; take it out, or set secure_aggregation.required: false");
        if (rules.Required) return;
        check.Binds("secure_aggregation.min_cohort", "secure_aggregation.required");
        check.Binds("secure_aggregation.min_threshold", "secure_aggregation.required");
    }

    private static void CheckHours(Checker check, OpeningHoursRules rules)
    {
        foreach (var text in rules.Open)
            check.That("opening_hours.open", OpeningWindow.Parse(text) is not null, $"'{text}' is no time: write for example 'Mon-Fri 20:00-06:00', 'Sat,Sun 00:00-24:00' or 'daily 22:00-05:30'");
        if (rules.TimeZone.Length > 0)
            check.That("opening_hours.time_zone", TimeZoneInfo.TryFindSystemTimeZoneById(rules.TimeZone, out _), "this system has no such zone; write for example Europe/Berlin or UTC");
        else
            check.That("opening_hours.time_zone", rules.Open.Count == 0, "say which zone the times of opening_hours.open are in, for example Europe/Berlin or UTC");
    }

    private static void CheckMetrics(Checker check, SitePolicy policy)
    {
        var rules = policy.Metrics;
        check.That("metrics.max_digits", rules.MaxDigits is >= 1 and <= 17, "use a number from 1 to 17");
        check.AtLeast("metrics.min_examples", rules.MinExamples, 1);
        check.That("metrics.allowed", rules.Allowed.Count == 0 || policy.Messages.Contains(SiteMessages.Metrics), $"metrics leave in messages of type '{SiteMessages.Metrics}', which 'messages' does not allow; add it there");
    }

    /// <summary>Gathers errors with the value's place, so that a rule says only what it wants.</summary>
    private sealed class Checker(LoadedSettings<SitePolicy> loaded)
    {
        public List<JobError> Errors { get; } = [];

        public void That(string path, bool holds, string advice)
        {
            if (holds) return;
            var value = JobKey.Spell(PolicyFile.Keys.First(key => key.Path == path).ValueIn(loaded.Settings));
            JobOrigin? origin = loaded.Origins.TryGetValue(path, out var at) ? at : null;
            Errors.Add(new JobError(path, origin, $"'{path}' is {(value is "" or "[]" ? "empty" : value)}: {advice}."));
        }

        public void AtLeast(string path, double value, double least) => That(path, value >= least, $"use {JobKey.Spell(least)} or more");

        public void NoEmptyWords(string path) =>
            That(path, !((IReadOnlyList<string>)PolicyFile.Keys.First(key => key.Path == path).ValueIn(loaded.Settings)!).Any(string.IsNullOrWhiteSpace), "an entry is empty");

        public void Known(string path, IReadOnlyList<string> names, IReadOnlyList<string> known)
        {
            foreach (var name in names.Where(name => !string.IsNullOrWhiteSpace(name) && !known.Contains(name)))
            {
                var near = NearestName.Of(name.ToLowerInvariant().Replace('-', '_'), known);
                That(path, false, $"there is no '{name}'; {(near is null ? $"there are {string.Join(", ", known)}" : $"the nearest is '{near}'")}");
            }
        }

        /// <summary>A limit that is written but does not bind would be read as one that does.</summary>
        public void Binds(string path, string switchKey) =>
            That(path, !loaded.Origins.ContainsKey(path), $"it binds only with {switchKey}: true; take one of them out");
    }
}
