using Sora.Protocol.Jobs;

namespace Sora.Federation.SecureAggregation;

/// <summary>
/// Who masks with whom and who holds whose shares; sites are positions on a ring. It follows from the number of sites and the
/// threat model alone, so every site computes it itself and the coordinator has nothing to choose.
/// </summary>
public sealed record SharingGraph
{
    /// <summary>Up to this many sites all are neighbours of all: cheap enough, and the strongest.</summary>
    public const int CompleteUpTo = 32;

    private SharingGraph(int sites, int degree, int threshold, int minimumSurvivors) =>
        (Sites, Degree, Threshold, MinimumSurvivors) = (sites, degree, threshold, minimumSurvivors);

    /// <summary>Number of sites.</summary>
    public int Sites { get; }

    /// <summary>Neighbours of each site.</summary>
    public int Degree { get; }

    /// <summary>Shares that restore a secret.</summary>
    public int Threshold { get; }

    /// <summary>
    /// Fewest sites that every stage must end with, and fewest signatures under the set of survivors. Against a lying coordinator
    /// any two such quorums share an honest site, so there cannot be two sets.
    /// </summary>
    public int MinimumSurvivors { get; }

    /// <summary>All are neighbours of all.</summary>
    public bool IsComplete => Degree == Sites - 1;

    /// <summary>The graph of a round of <paramref name="sites"/>.</summary>
    /// <exception cref="SoraException">No graph satisfies the threat model with so few sites.</exception>
    public static SharingGraph For(int sites, ThreatModel threat)
    {
        threat.Validate();
        if (sites < 2)
            throw new SoraException($"Secure aggregation needs at least 2 sites, there are {sites}.", ExitCode.Failure);
        var survivors = Math.Max(2, sites - threat.Dropouts(sites));
        if (sites > CompleteUpTo && HararyParameters.Find(sites, threat) is { } ring)
            return new(sites, ring.Degree, ring.Threshold, survivors);

        // In the complete graph the quorum holds the shares, so the highest threshold that bears the dropouts is the best one.
        var bad = threat.Adversaries(sites);
        var least = threat.Adversary == AdversaryClass.SemiMaliciousServer ? (sites + bad) / 2 + 1 : bad + 1;
        if (survivors < least)
            throw new SoraException(
                $"Secure aggregation among {sites} sites, {bad} of them adversaries, needs {least} survivors, but {sites - survivors} may drop out. "
                + "Add sites, or lower the rates of the threat model.");
        return new(sites, sites - 1, survivors, survivors);
    }

    /// <summary>Whether the sites at two positions mask with each other.</summary>
    public bool AreNeighbours(int one, int other)
    {
        if (one == other)
            return false;
        var distance = Math.Abs(one - other);
        return IsComplete || Math.Min(distance, Sites - distance) <= Degree / 2;
    }

    /// <summary>Neighbours of a position, ascending.</summary>
    public IEnumerable<int> NeighboursOf(int position) => Enumerable.Range(0, Sites).Where(other => AreNeighbours(position, other));

    /// <summary>
    /// Who holds shares of a position's secrets, ascending: its neighbours; in the complete graph itself too (Bonawitz), so that any
    /// <see cref="Threshold"/> sites restore everything.
    /// </summary>
    public IEnumerable<int> HoldersOf(int position) => IsComplete ? Enumerable.Range(0, Sites) : NeighboursOf(position);
}
