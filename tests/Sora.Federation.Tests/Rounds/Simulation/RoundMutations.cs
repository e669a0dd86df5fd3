using Sora.Federation.Rounds;

namespace Sora.Federation.Tests.Rounds.Simulation;

/// <summary>The protocol broken on purpose, from outside: what goes in or comes out is changed, as a wrong rule would.</summary>
internal static class RoundMutations
{
    public static IReadOnlyDictionary<string, RoundRules> All { get; } = new Dictionary<string, RoundRules>
    {
        ["late updates count for the open round"] = new() { Coordinator = (state, happened) => RoundCoordinator.Decide(state, Renewed(state, happened)) },
        ["a round closes below its quorum"] = new() { Coordinator = WithRound(round => round with { Cohort = round.Cohort with { Quorum = 1, Target = 1 } }) },
        ["an update is counted twice"] = new() { Coordinator = Recording(decision => decision is RoundClosed closed ? closed with { Updates = [.. closed.Updates, closed.Updates[0]] } : decision) },
        ["sites are told before the budget is reserved"] = new() { Coordinator = NotWaitingForBudget },
        ["accepted updates are not journaled"] = new() { Coordinator = Without(effect => effect is JournalRound { Decision: UpdateAccepted }) },
        ["closing a round is not journaled"] = new() { Coordinator = Without(effect => effect is JournalRound { Decision: RoundClosed }) },
        ["attempts given up are not paid for"] = new() { Coordinator = Changing(effect => effect is SettleBudget settle ? settle with { Spent = false } : effect) },
        ["a restart forgets the attempts there were"] = new() { Apply = (state, decision) => RoundCoordinator.Apply(state, decision) with { LastKey = default } },
        ["a restart forgets accepted updates"] = new() { Apply = Forgetting(decision => decision is UpdateAccepted) },
        ["a restart forgets that somebody wants to stop"] = new() { Apply = Forgetting(decision => decision is FederationStopDecided) },
        ["a restart forgets who is shut out"] = new() { Apply = Forgetting(decision => decision is SiteBarred) },
        ["a restart forgets what the ledger holds"] = new() { Apply = (state, decision) => RoundCoordinator.Apply(state, decision) with { Reservations = RoundCoordinatorState.Empty.Reservations } },
        ["a secure round goes on after a restart"] = new() { Apply = (state, decision) => RoundCoordinator.Apply(state, decision) is { Round: { } round } next ? next with { Round = round with { Secure = null } } : RoundCoordinator.Apply(state, decision) },
        ["a secure round goes on below its threshold"] = new() { Coordinator = WithRound(round => round.Secure is { } secure ? round with { Cohort = round.Cohort with { Quorum = 1 }, Secure = secure with { Threshold = 1 } } : round) },
        ["a round without a quorum waits for ever"] = new() { Coordinator = (state, happened) => happened is RoundTimerFired { Timer.Timer: RoundTimer.Deadline or RoundTimer.Stage } ? (state, []) : RoundCoordinator.Decide(state, happened) },
        ["stale updates count"] = new() { Coordinator = (state, happened) => RoundCoordinator.Decide(state.Run is { } run && state.Phase == RoundPhase.Open ? state with { Run = run with { Settings = run.Settings with { MaxStaleness = 9 } } } : state, happened) },
        ["which updates were used is forgotten"] = new() { Coordinator = (state, happened) => RoundCoordinator.Decide(state with { Used = state.Used.Clear() }, happened) },
        ["whoever is shut out goes on"] = new() { Coordinator = (state, happened) => RoundCoordinator.Decide(state with { Barred = state.Barred.Clear() }, happened) },
        ["a site that was restarted makes another update"] = new() { ApplyAtSite = (state, decision) => decision is UpdateReady ? state : RoundSite.Apply(state, decision) },
        ["a site offers its update once"] = new() { Site = (state, happened) => happened is RetryDue ? (state, []) : RoundSite.Decide(state, happened is CoordinatorSaid { Message: RoundAnnounced announced } && state.Round?.Round == announced.Round ? new NothingHappened() : happened) },
    };

    private sealed record NothingHappened : RoundSiteEvent;

    private static RoundEvent Renewed(RoundCoordinatorState state, RoundEvent happened)
    {
        if (state.Round is not { } round)
            return happened;
        UpdateOffer Now(UpdateOffer offer) => offer with { Id = offer.Id with { Round = round.Key } };
        return happened switch
        {
            SiteSaid { Message: UpdateOffered offered } said => said with { Message = offered with { Offer = Now(offered.Offer) } },
            UpdateStored stored => stored with { Offer = Now(stored.Offer) },
            _ => happened,
        };
    }

    private static RoundRules.CoordinatorRule WithRound(Func<OpenRound, OpenRound> change) => (state, happened) =>
        RoundCoordinator.Decide(state.Round is { } round ? state with { Round = change(round) } : state, happened);

    private static RoundRules.CoordinatorRule Changing(Func<RoundEffect, RoundEffect> change) => (state, happened) =>
    {
        var (next, effects) = RoundCoordinator.Decide(state, happened);
        return (next, [.. effects.Select(change)]);
    };

    private static RoundRules.CoordinatorRule Recording(Func<RoundDecision, RoundDecision> change) =>
        Changing(effect => effect is JournalRound record ? new JournalRound(change(record.Decision)) : effect);

    private static RoundRules.CoordinatorRule Without(Func<RoundEffect, bool> dropped) => (state, happened) =>
    {
        var (next, effects) = RoundCoordinator.Decide(state, happened);
        return (next, [.. effects.Where(effect => !dropped(effect))]);
    };

    private static Func<RoundCoordinatorState, RoundDecision, RoundCoordinatorState> Forgetting(Func<RoundDecision, bool> forgotten) => (state, decision) =>
        forgotten(decision) ? state : RoundCoordinator.Apply(state, decision);

    private static (RoundCoordinatorState State, IReadOnlyList<RoundEffect> Effects) NotWaitingForBudget(RoundCoordinatorState state, RoundEvent happened)
    {
        var (next, effects) = RoundCoordinator.Decide(state, happened);
        if (effects.OfType<ReserveBudget>().FirstOrDefault() is not { } reserve)
            return (next, effects);
        var (granted, more) = RoundCoordinator.Decide(next, new BudgetReserved(reserve.Round, 0));
        return (granted, [.. effects.Where(effect => effect != reserve), .. more, reserve]);
    }
}
