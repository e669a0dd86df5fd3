using System.Collections.Immutable;

namespace Sora.Federation.Rounds;

// What decisions do to the state: the only way anything durable changes.
public static partial class RoundCoordinator
{
    /// <summary>The state after a decision. Who is there is not in the journal: sites dial again.</summary>
    public static RoundCoordinatorState Apply(RoundCoordinatorState state, RoundDecision decision) => decision switch
    {
        FederationAccepted accepted => state with { Run = accepted.Run, Model = accepted.Run.Initial, Phase = RoundPhase.Gathering },
        FederationTakenUp => state,
        RoundOpened opened => Opened(state, opened),
        BudgetGranted granted => AtWork(state with { Epsilon = granted.Epsilon, Granted = true }),
        UpdateAccepted accepted => Counted(state, accepted.Update),
        RoundClosed closed => state with { Phase = RoundPhase.Aggregating, Round = state.Round! with { Updates = ByName(closed.Updates) } },
        RoundAbandoned abandoned => state with
        {
            Phase = RoundPhase.Gathering,
            Round = null,
            Missing = state.Missing.Union(abandoned.Missing),
            Declined = state.Declined.Union(abandoned.Declined),
            LastFailure = abandoned.Reason,
            Reservations = Reserved(state, abandoned.Round, state.Granted),
        },
        ModelCommitted committed => Committed(state, committed),
        BudgetClosed closed => state with { Reservations = state.Reservations.Remove(closed.Round) },
        EvaluationClosed closed => state with { Phase = RoundPhase.Gathering, EvalLoss = closed.Loss ?? state.EvalLoss, Evaluations = state.Evaluations.Clear() },
        SiteBarred barred => state with
        {
            Barred = state.Barred.SetItem(barred.Site, barred.Reason),
            Round = state is { Phase: RoundPhase.Open, Round: { } round } ? round with { Updates = round.Updates.Remove(barred.Site) } : state.Round,
        },
        SiteUnbarred unbarred => state with { Barred = state.Barred.Remove(unbarred.Site) },
        FederationStopDecided stop => state with { StopReason = stop.Reason },
        FederationEnded ended => state with { Phase = RoundPhase.Ended, Outcome = ended.Outcome, Round = null },
        _ => throw new ArgumentOutOfRangeException(nameof(decision), decision, "unknown decision"),
    };

    private static RoundCoordinatorState Opened(RoundCoordinatorState state, RoundOpened opened)
    {
        var next = state with
        {
            LastKey = opened.Round,
            LastCohort = opened.Cohort.Sites,
            Round = new OpenRound(opened.Round, opened.Base, opened.Cohort),
            Granted = false,
        };
        return state.Run!.Private ? next with { Phase = RoundPhase.Reserving, Reservations = next.Reservations.Add(opened.Round, null) } : AtWork(next);
    }

    private static RoundCoordinatorState AtWork(RoundCoordinatorState state)
    {
        var round = state.Round!;
        if (!state.Run!.Secure)
            return state with { Phase = RoundPhase.Open };
        var asked = round.Cohort.Sites.ToImmutableSortedSet(StringComparer.Ordinal);
        var threshold = Threshold(state.Run, asked.Count);
        return state with { Phase = RoundPhase.Open, Round = round with { Secure = new SecureProgress(SecureStage.AdvertiseKeys, threshold, asked, RoundCoordinatorState.NoNames) } };
    }

    private static int Threshold(FederatedRun run, int asked) =>
        run.Settings.SecureAggregation is { } secure ? Math.Max(2, (int)Math.Ceiling(secure.Threshold * asked - 1e-9)) : 1;

    private static RoundCoordinatorState Counted(RoundCoordinatorState state, AcceptedUpdate update)
    {
        var round = state.Round!;
        var next = state with { Round = round with { Updates = round.Updates.SetItem(update.Id.Site, update) } };
        if (!state.Run!.Asynchronous)
            return next;
        var used = state.Used.GetValueOrDefault(update.Id.Round, RoundCoordinatorState.NamesTo<string>());
        return next with { Used = state.Used.SetItem(update.Id.Round, used.SetItem(update.Id.Site, update.Id.Sha256)) };
    }

    private static RoundCoordinatorState Committed(RoundCoordinatorState state, ModelCommitted committed)
    {
        var (run, number) = (state.Run!, committed.Model.Number);
        var oldest = number - run.Settings.MaxStaleness;
        var evaluates = run.Settings.EvalRounds > 0 && number % run.Settings.EvalRounds == 0;
        return state with
        {
            Phase = evaluates || number == run.Settings.Rounds ? RoundPhase.Evaluating : RoundPhase.Gathering,
            Model = committed.Model,
            Loss = committed.Loss,
            Round = null,
            Missing = RoundCoordinatorState.NoNames,
            Declined = RoundCoordinatorState.NoNames,
            Reservations = Reserved(state, committed.Round, spent: true),
            OlderModels = run.Asynchronous ? state.OlderModels.SetItem(state.Model.Number, state.Model).RemoveRange(state.OlderModels.Keys.Where(older => older < oldest)) : state.OlderModels,
            Used = state.Used.RemoveRange(state.Used.Keys.Where(key => key.Round - 1 < oldest)),
        };
    }

    private static ImmutableSortedDictionary<RoundKey, bool?> Reserved(RoundCoordinatorState state, RoundKey round, bool spent) =>
        state.Reservations.ContainsKey(round) ? state.Reservations.SetItem(round, spent) : state.Reservations;

    private static ImmutableSortedDictionary<string, AcceptedUpdate> ByName(ImmutableArray<AcceptedUpdate> updates) =>
        updates.ToImmutableSortedDictionary(update => update.Id.Site, update => update, StringComparer.Ordinal);
}
