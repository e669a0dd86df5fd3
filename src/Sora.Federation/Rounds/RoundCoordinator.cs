using System.Collections.Immutable;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Federation.Rounds;

/// <summary>
/// The coordinator's side of federated rounds as a pure function: no clock, no socket, no thread, no randomness. A shell feeds it
/// what happens and does what it says; a simulator can do the same.
/// </summary>
/// <remarks>
/// What is durable changes through <see cref="Apply"/> alone, in a turn as in a recovery, so a restarted coordinator cannot believe
/// anything else than the one before had written. The order that makes a kill at any moment harmless:
/// <list type="number">
/// <item>An attempt's number and cohort are journaled, then its cost is reserved, then that is journaled, then sites are told.</item>
/// <item>An update is stored, then journaled as accepted, then acknowledged.</item>
/// <item>The set of updates is journaled, then aggregated: aggregating it again gives the same model.</item>
/// <item>The model is stored, then journaled as committed, then the reservation is settled as spent.</item>
/// <item>An attempt that sites may have been told of is paid for even when nothing comes of it.</item>
/// </list>
/// </remarks>
public static partial class RoundCoordinator
{
    /// <summary>How often those who have not answered are told again, or four times a deadline if that is more often.</summary>
    public static readonly TimeSpan ReminderInterval = TimeSpan.FromSeconds(10);

    /// <summary>What follows from an event: the next state, and what to do in the order given.</summary>
    public static (RoundCoordinatorState State, IReadOnlyList<RoundEffect> Effects) Decide(RoundCoordinatorState state, RoundEvent happened)
    {
        var turn = new Turn(state, happened.At);
        switch (state.Phase)
        {
            case RoundPhase.Idle when happened is FederationSubmitted submitted: Submit(turn, submitted.Run); break;
            case RoundPhase.Idle: break;
            case RoundPhase.Ended: SendHome(turn, happened); break;
            default: Learn(turn, happened); break;
        }
        Reconsider(turn);
        return (turn.State, turn.Effects);
    }

    private static void Submit(Turn turn, FederatedRun run)
    {
        FederationValidation.Require(run.Settings);
        turn.Record(new FederationAccepted(run));
        var settings = run.Settings;
        turn.Show(new FederationStarted(
            run.Run, settings.Rounds, JobKey.Spell(settings.Mode), settings.Strategy.Name, settings.MinAvailableSites, run.Secure, run.Private));
    }

    private static void Learn(Turn turn, RoundEvent happened)
    {
        switch (happened)
        {
            case FederationRecovered: Recover(turn); break;
            case SiteArrived arrived when arrived.Hello.Run == turn.Run.Run: Arrive(turn, arrived.Hello); break;
            case SiteSaid said when said.Message.Run == turn.Run.Run: Hear(turn, said.Site, said.Message); break;
            case SiteLost lost: Lose(turn, lost); break;
            case SiteBanned banned: Ban(turn, banned); break;
            case SiteReadmitted readmitted when turn.State.Barred.ContainsKey(readmitted.Site): turn.Record(new SiteUnbarred(readmitted.Site)); break;
            case UpdateStored stored: Store(turn, stored.Offer); break;
            case UpdateRejected rejected: Reject(turn, rejected); break;
            case BudgetReserved reserved: HearReserved(turn, reserved); break;
            case BudgetRefused refused: HearRefused(turn, refused); break;
            case BudgetSettled settled: HearSettled(turn, settled.Round); break;
            case RoundAggregated aggregated: Commit(turn, aggregated); break;
            case AggregationFailed failed when IsInHand(turn, failed.Round, RoundPhase.Aggregating): Abandon(turn, failed.Reason); break;
            case RoundTimerFired fired: TimeOut(turn, fired.Timer); break;
            case FederationStopRequested stop when turn.State.StopReason.Length == 0: turn.Record(new FederationStopDecided(stop.Reason)); break;
        }
    }

    private static void Hear(Turn turn, string site, FromSite message)
    {
        switch (message)
        {
            case RoundAccepted accepted: Answer(turn, site, accepted.Round, SiteAnswer.Accepted, ""); break;
            case RoundRefused refused: HearRefusal(turn, site, refused); break;
            case RoundFailed failed: Answer(turn, site, failed.Round, SiteAnswer.Failed, failed.Reason); break;
            case UpdateOffered offered: HearOffer(turn, site, offered.Offer); break;
            case StageAnswered answered: HearStage(turn, site, answered); break;
            case ModelEvaluated evaluated: HearEvaluation(turn, site, evaluated); break;
            case SiteDraining when turn.State.Sites.TryGetValue(site, out var known): turn.Update(site, known with { Draining = true }); break;
        }
    }

    /// <summary>What is to be done, given what is known. Each conclusion may allow the next one.</summary>
    private static void Reconsider(Turn turn)
    {
        (RoundPhase, RoundKey, SecureStage?) before;
        do
        {
            before = Place(turn.State);
            switch (turn.State.Phase)
            {
                case RoundPhase.Gathering: ReconsiderGathering(turn); break;
                case RoundPhase.Reserving when turn.State.StopReason.Length > 0: Abandon(turn, turn.State.StopReason); break;
                case RoundPhase.Open: ReconsiderOpen(turn); break;
                case RoundPhase.Evaluating: ReconsiderEvaluation(turn); break;
                case RoundPhase.Ending: ReconsiderEnding(turn); break;
            }
        }
        while (Place(turn.State) != before);
    }

    private static (RoundPhase, RoundKey, SecureStage?) Place(RoundCoordinatorState state) => (state.Phase, state.LastKey, state.Round?.Secure?.Stage);

    private static void TimeOut(Turn turn, RoundTimerKey timer)
    {
        // The clock may have been started for something that is over.
        if (timer.Round != turn.State.LastKey)
            return;
        switch (timer.Timer)
        {
            case RoundTimer.Deadline when turn.State.Phase == RoundPhase.Open: DeadlinePassed(turn); break;
            case RoundTimer.Stage when turn.State.Phase == RoundPhase.Open: StagePassed(turn, timer.Stage); break;
            case RoundTimer.Reminder: Remind(turn); break;
            case RoundTimer.Backoff: turn.State = turn.State with { BackingOff = false }; break;
            case RoundTimer.Evaluation when turn.State.Phase == RoundPhase.Evaluating: CloseEvaluation(turn); break;
        }
    }

    private static bool IsInHand(Turn turn, RoundKey key, RoundPhase phase) => turn.State.Phase == phase && turn.State.Round?.Key == key;

    /// <summary>One call of <see cref="Decide"/> being put together.</summary>
    private sealed class Turn(RoundCoordinatorState state, TimeSpan now)
    {
        private readonly List<RoundEffect> _effects = [];

        public RoundCoordinatorState State { get; set; } = state;

        public TimeSpan Now => now;

        public FederatedRun Run => State.Run!;

        public FederationSettings Settings => Run.Settings;

        public IReadOnlyList<RoundEffect> Effects => _effects;

        public void Do(RoundEffect effect) => _effects.Add(effect);

        public void Tell(string site, ToSite message) => Do(new TellSite(site, message));

        public void Show(RunEvent report) => Do(new ShowReport(report));

        public void Start(RoundTimer timer, TimeSpan after, SecureStage stage = SecureStage.AdvertiseKeys) =>
            Do(new StartTimer(new RoundTimerKey(timer, State.LastKey, stage), after));

        public void Update(string site, SiteState changed) => State = State with { Sites = State.Sites.SetItem(site, changed) };

        public void Update(OpenRound round) => State = State with { Round = round };

        public bool IsLinked(string site) => State.Sites.TryGetValue(site, out var known) && known.Linked;

        public void Record(RoundDecision decision)
        {
            Do(new JournalRound(decision));
            State = Apply(State, decision);
        }
    }
}
