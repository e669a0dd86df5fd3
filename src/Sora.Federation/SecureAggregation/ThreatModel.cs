using Sora.Protocol.Jobs;

namespace Sora.Federation.SecureAggregation;

/// <summary>What the coordinator of a round is trusted with.</summary>
public enum AdversaryClass
{
    /// <summary>Nobody attacks; only dropouts count.</summary>
    None,
    /// <summary>The coordinator follows the protocol but looks at all it receives, together with the sites it controls.</summary>
    CuriousServer,
    /// <summary>The coordinator may besides tell different sites different sets of survivors.</summary>
    SemiMaliciousServer,
}

/// <summary>
/// The assumptions a round is made for: which part of the sites may be in league with the coordinator, and which part may vanish.
/// Threshold, neighbours and quorum follow from it, see <see cref="SharingGraph.For"/>.
/// </summary>
/// <param name="AdversarialRate">Part of the sites that share all they know with the coordinator, 0 to below 1.</param>
/// <param name="DropoutRate">Part of the sites that may drop out during the round, 0 to below 1.</param>
/// <param name="Adversary">What the coordinator may do.</param>
public sealed record ThreatModel(double AdversarialRate, double DropoutRate, AdversaryClass Adversary)
{
    /// <summary>A quarter of the sites against us, a quarter lost, and a coordinator that may lie about who survived.</summary>
    public static ThreatModel Default { get; } = new(0.25, 0.25, AdversaryClass.SemiMaliciousServer);

    // 0.33 * 100 must be 33 although the product may fall short of it by a rounding error.
    private const double RoundingSlack = 1e-14;

    // Above it no number of sites gives useful parameters.
    private const double LargestFeasibleRate = 0.9;

    /// <summary>Most sites of <paramref name="sites"/> that are in league with the coordinator.</summary>
    public int Adversaries(int sites) => (int)Math.Floor((AdversarialRate + RoundingSlack) * sites);

    /// <summary>Most sites of <paramref name="sites"/> that may drop out.</summary>
    public int Dropouts(int sites) => (int)Math.Floor((DropoutRate + RoundingSlack) * sites);

    /// <summary>Fewest sites of <paramref name="sites"/> that stay to the end.</summary>
    internal int Survivors(int sites) => (int)Math.Ceiling((1 - DropoutRate - RoundingSlack) * sites);

    /// <summary>Why no round can be made for these assumptions, or null if one can.</summary>
    public string? Objection()
    {
        if (!(AdversarialRate is >= 0 and < 1))
            return $"the adversarial rate is {AdversarialRate}, it must be at least 0 and below 1";
        if (!(DropoutRate is >= 0 and < 1))
            return $"the dropout rate is {DropoutRate}, it must be at least 0 and below 1";
        if (Adversary == AdversaryClass.None && AdversarialRate > 0)
            return $"without an adversary the adversarial rate must be 0, not {AdversarialRate}";
        // Against a lying coordinator a dropout counts twice: it can be told dead to some and alive to others.
        var weight = Adversary == AdversaryClass.SemiMaliciousServer ? 2 : 1;
        return AdversarialRate + weight * DropoutRate > LargestFeasibleRate
            ? $"adversarial rate + {weight} x dropout rate is {AdversarialRate + weight * DropoutRate:0.###}, it must be at most {LargestFeasibleRate}"
            : null;
    }

    internal void Validate()
    {
        if (Objection() is { } objection)
            throw new SoraException($"Secure aggregation is impossible: {objection}. Lower the rates.", ExitCode.Usage);
    }
}
