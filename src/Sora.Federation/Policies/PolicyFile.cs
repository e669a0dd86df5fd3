using Sora.Protocol.Jobs;

namespace Sora.Federation.Policies;

/// <summary>A policy that is in force.</summary>
/// <param name="Policy">The rules.</param>
/// <param name="Origins">Where each was written, by key; rules left to their default are absent.</param>
/// <param name="Hours">When jobs may run; null: always.</param>
public sealed record LoadedPolicy(SitePolicy Policy, IReadOnlyDictionary<string, JobOrigin> Origins, OpeningHours? Hours)
{
    /// <summary>Where a rule was written; null for a default.</summary>
    public JobOrigin? OriginOf(string rule) => Origins.TryGetValue(rule, out var origin) ? origin : null;
}

/// <summary>Reads <c>policy.yaml</c>. A policy with any error is none: the site that has no sound policy takes part in nothing.</summary>
public static class PolicyFile
{
    private static readonly SettingsFile<SitePolicy> Kind = new("policy", "docs/federated.md");

    /// <summary>Every key of a policy, in order.</summary>
    public static IReadOnlyList<JobKey> Keys => Kind.Leaves;

    /// <summary>Reads a policy file.</summary>
    /// <exception cref="JobErrors">Something is wrong; the message lists everything.</exception>
    public static LoadedPolicy Load(string path) => Complete(Kind.Load(path, PolicyValidation.Check));

    /// <summary>Reads a policy from text; <paramref name="source"/> is named in errors.</summary>
    /// <exception cref="JobErrors">Something is wrong; the message lists everything.</exception>
    public static LoadedPolicy LoadText(string yaml, string source) => Complete(Kind.LoadText(yaml, source, PolicyValidation.Check));

    private static LoadedPolicy Complete(LoadedSettings<SitePolicy> loaded)
    {
        var rules = loaded.Settings.OpeningHours;
        var hours = rules.Open.Count == 0
            ? null
            : new OpeningHours(TimeZoneInfo.FindSystemTimeZoneById(rules.TimeZone), rules.Open.Select(text => OpeningWindow.Parse(text)!).ToArray());
        return new LoadedPolicy(loaded.Settings, loaded.Origins, hours);
    }
}
