using Sora.Federation.Aggregation.Strategies;
using Sora.Federation.Aggregation.Updates;

namespace Sora.Federation.Aggregation;

/// <summary>A site whose update is in the aggregate.</summary>
/// <param name="Site">The site.</param>
/// <param name="Weight">The weight it was given.</param>
/// <param name="Scale">What its values were multiplied by (below one when clipped).</param>
/// <param name="Sha256">The hash of what it sent.</param>
public sealed record Counted(string Site, double Weight, double Scale, string Sha256);

/// <summary>What a round came to.</summary>
/// <param name="Model">The new global weights and server state.</param>
/// <param name="Counted">Whose updates are in it, in the order of the sites' names.</param>
/// <param name="Rejected">Whose updates are not, and why.</param>
public sealed record RoundOutcome(ServerModel Model, IReadOnlyList<Counted> Counted, IReadOnlyList<Rejected> Rejected);
