using Sora.Federation.Aggregation.Robust;
using Sora.Federation.Aggregation.Updates;

namespace Sora.Federation.Aggregation.Strategies;

/// <summary>What an update counts in a mean.</summary>
public enum Weighting
{
    /// <summary>As much as the site trained on: its claimed number of examples or tokens.</summary>
    Examples,

    /// <summary>As much as any other: what robust rules need, since a claim is free.</summary>
    Uniform,

    /// <summary>(1 + s)^-<see cref="ServerStrategy.StalenessExponent"/> for an update begun s rounds ago, divided by the number of updates, not by the sum of weights (FedBuff).</summary>
    Staleness,
}

/// <summary>
/// How a server turns the updates of a round into new global weights: screens leave some out or scale them, a rule makes one
/// vector of the rest, and an optimizer applies it. Most published strategies are a choice of these three; see <see cref="StrategyCatalog"/>.
/// </summary>
/// <param name="Name">What users call it.</param>
/// <param name="Optimizer">What is done with the aggregate.</param>
public sealed record ServerStrategy(string Name, ServerOptimizer Optimizer)
{
    /// <summary>What updates go through before they are aggregated, in this order.</summary>
    public IReadOnlyList<IScreen> Screens { get; init; } = [];

    /// <summary>The rule of each parameter; null for the weighted mean.</summary>
    public CoordinateRule? Rule { get; init; }

    /// <summary>What updates count in the mean.</summary>
    public Weighting Weighting { get; init; }

    /// <summary>How fast stale updates lose weight under <see cref="Weighting.Staleness"/>; 0.5 is the square root of FedBuff's paper.</summary>
    public double StalenessExponent { get; init; } = 0.5;

    /// <summary>What the sites must know: parameters of the strategy that act on local training, by their names (<c>proximal_mu</c>).</summary>
    public IReadOnlyDictionary<string, double> SiteParameters { get; init; } = new Dictionary<string, double>();

    /// <summary>
    /// Whether updates are added to the sum and let go as they come: the disk then holds a few updates whatever the number of
    /// sites. Otherwise every update stays in its file until the round closes.
    /// </summary>
    public bool Streams => Rule is null && !Screens.Any(screen => screen.NeedsAll);

    /// <summary>What an update counts in the mean of a round.</summary>
    internal double WeightOf(SiteUpdate update, long round) => Weighting switch
    {
        Weighting.Examples => update.Weight,
        Weighting.Uniform => 1,
        // The least weight keeps the extreme from becoming none, which a sum would not take.
        _ => Math.Max(Sums.ExactSum.MinWeight, Math.Pow(1 + Math.Max(0, round - update.Round), -StalenessExponent)),
    };
}
