using Sora.Protocol.Jobs;

namespace Sora.Federation.Policies;

/// <summary>A rule that a request breaks.</summary>
/// <param name="Rule">The policy's key, or <c>request</c> where the request contradicts itself.</param>
/// <param name="Origin">Where the rule was written; null for a default.</param>
/// <param name="Asked">What the job asks.</param>
/// <param name="Allowed">What the policy allows.</param>
public sealed record BrokenRule(string Rule, JobOrigin? Origin, string Asked, string Allowed)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Rule} ({Origin?.ToString() ?? (Rule == PolicyJudge.RequestRule ? "the request itself" : "default")}): asked {Asked}, allowed {Allowed}";
}

/// <summary>What a policy says to a request.</summary>
/// <param name="Broken">Every rule it breaks; none: the site takes part.</param>
public sealed record PolicyDecision(IReadOnlyList<BrokenRule> Broken)
{
    /// <summary>Whether the site takes part.</summary>
    public bool IsAllowed => Broken.Count == 0;
}
