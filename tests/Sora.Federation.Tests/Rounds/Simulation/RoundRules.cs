using Sora.Federation.Rounds;

namespace Sora.Federation.Tests.Rounds.Simulation;

/// <summary>The protocol the simulation plays: the real one, or one that is broken on purpose to see whether anybody notices.</summary>
internal sealed record RoundRules
{
    public delegate (RoundCoordinatorState State, IReadOnlyList<RoundEffect> Effects) CoordinatorRule(RoundCoordinatorState state, RoundEvent happened);

    public delegate (RoundSiteState State, IReadOnlyList<RoundSiteEffect> Effects) SiteRule(RoundSiteState state, RoundSiteEvent happened);

    public CoordinatorRule Coordinator { get; init; } = RoundCoordinator.Decide;

    public Func<RoundCoordinatorState, RoundDecision, RoundCoordinatorState> Apply { get; init; } = RoundCoordinator.Apply;

    public SiteRule Site { get; init; } = RoundSite.Decide;

    public Func<RoundSiteState, RoundSiteDecision, RoundSiteState> ApplyAtSite { get; init; } = RoundSite.Apply;
}
