namespace Sora.Federation.Rounds;

/// <summary>
/// The site's side of federated rounds as a pure function. Its policy is asked before anything is done with its data; an attempt has
/// one update, whatever happens to the process; what comes late, twice or out of order does nothing.
/// </summary>
public static partial class RoundSite
{
    /// <summary>What follows from an event: the next state, and what to do in the order given.</summary>
    public static (RoundSiteState State, IReadOnlyList<RoundSiteEffect> Effects) Decide(RoundSiteState state, RoundSiteEvent happened)
    {
        var turn = new Turn(state);
        if (state.Phase == RoundSitePhase.Left)
            return (state, []);
        switch (happened)
        {
            case CoordinatorReached reached: SayHello(turn, reached); break;
            case CoordinatorSaid said when said.Message.Run == state.Run: Hear(turn, said.Message); break;
            case PolicyDecided decided when IsAt(turn, decided.Round, RoundSitePhase.Deciding): HearPolicy(turn, decided); break;
            case LocalRoundTrained trained when IsAt(turn, trained.Offer.Id.Round, RoundSitePhase.Training): HoldUpdate(turn, trained.Offer); break;
            case LocalRoundFailed failed when state.Round?.Round == failed.Round && state.Phase is not (RoundSitePhase.Idle or RoundSitePhase.Declined): Fail(turn, failed.Reason); break;
            case StageSent sent when state.Round?.Round == sent.Round && state.Stages.ContainsKey(sent.Stage): turn.Tell(new StageAnswered(state.Run, sent.Round, sent.Stage)); break;
            case LocalEvaluationDone done when done.Version == state.Evaluating: HearMeasured(turn, done); break;
            case RetryDue when state.Phase == RoundSitePhase.Delivering: Offer(turn); break;
            case DrainRequested: Drain(turn); break;
        }
        return (turn.State, turn.Effects);
    }

    /// <summary>Rebuilds what survives a restart of the site.</summary>
    public static RoundSiteState Apply(RoundSiteState state, RoundSiteDecision decision) => decision switch
    {
        RoundTaken taken => state with { Taken = taken.Round, Ready = null },
        UpdateReady ready => state with { Ready = ready.Offer },
        RoundLeft left => state with { Over = left.Round > state.Over ? left.Round : state.Over, Ready = null },
        _ => throw new ArgumentOutOfRangeException(nameof(decision), decision, "unknown decision"),
    };

    private static void SayHello(Turn turn, CoordinatorReached reached)
    {
        var state = turn.State;
        var atWork = state.Phase is RoundSitePhase.Deciding or RoundSitePhase.Training or RoundSitePhase.Trained or RoundSitePhase.Delivering;
        // After a restart the round it was at is in the journal only.
        var work = atWork ? state.Round?.Round : state is { Phase: RoundSitePhase.Idle, Ready: { } ready } ? ready.Id.Round : null;
        turn.Tell(new SiteHello(state.Run, state.Site, reached.Incarnation, reached.Unfit, work, state.Draining));
        if (state.Phase == RoundSitePhase.Delivering)
            Offer(turn);
    }

    private static void Hear(Turn turn, ToSite message)
    {
        switch (message)
        {
            case RoundAnnounced announced: HearRound(turn, announced); break;
            case StageOpened opened when turn.State.Round?.Round == opened.Round: HearStage(turn, opened); break;
            case UploadFrom upload when IsDelivering(turn, upload.Id): turn.Do(new SendUpdate(turn.State.Ready!, upload.NextChunk)); break;
            case UpdateAcknowledged acknowledged when IsDelivering(turn, acknowledged.Id): turn.State = turn.State with { Phase = RoundSitePhase.Delivered }; break;
            case UpdateRefused refused when turn.State.Round?.Round == refused.Id.Round && turn.State.Ready?.Id == refused.Id: Leave(turn, refused.Id.Round); break;
            case RoundOver over when (turn.State.Round?.Round ?? turn.State.Ready?.Id.Round) is { } round && round <= over.Round: Leave(turn, round); break;
            case EvaluateModel evaluate: HearEvaluate(turn, evaluate.Model); break;
            case Dismissed dismissed: HearDismissed(turn, dismissed); break;
        }
    }

    private static void HearRound(Turn turn, RoundAnnounced announced)
    {
        var (state, key) = (turn.State, announced.Round);
        if (state.Round?.Round == key)
        {
            Repeat(turn, announced);
            return;
        }
        // An older word that was long on its way.
        if (key <= state.Over || key < state.Taken || (state.Round is { } current && key < current.Round))
            return;
        if (state.Round is { } before)
            Leave(turn, before.Round);
        else if (state.Ready is { } old && old.Id.Round != key)
            Leave(turn, old.Id.Round);
        turn.State = turn.State with { Round = announced, Refusal = null, Failure = "", Stages = turn.State.Stages.Clear() };
        if (announced.Secure && key == state.Taken)
            Fail(turn, "the site was restarted, and the keys of a secure round live in one process only");
        else if (key == state.Taken && state.Ready is not null)
            BeginDelivery(turn);
        else if (state.Draining && key != state.Taken)
            Decline(turn, new RoundRefused(state.Run, key, "the site is about to leave", ForJob: false));
        else
            Ask(turn, announced);
    }

    private static void Ask(Turn turn, RoundAnnounced announced)
    {
        turn.State = turn.State with { Phase = RoundSitePhase.Deciding, Refusal = null, Failure = "" };
        turn.Do(new AskPolicy(announced));
    }

    /// <summary>The coordinator has not heard the answer, or forgot it in a restart.</summary>
    private static void Repeat(Turn turn, RoundAnnounced announced)
    {
        var state = turn.State;
        switch (state.Phase)
        {
            case RoundSitePhase.Training or RoundSitePhase.Trained: turn.Tell(new RoundAccepted(state.Run, state.Round!.Round)); break;
            case RoundSitePhase.Delivering or RoundSitePhase.Delivered when state.Ready is { } ready: turn.Tell(new UpdateOffered(state.Run, ready)); break;
            // What was forbidden or failed may go now. The keys of a secure round, or an update that was ready, cannot be had twice.
            case RoundSitePhase.Declined when !announced.Secure && state.Ready is null && !state.Draining: Ask(turn, announced); break;
            case RoundSitePhase.Declined when state.Refusal is { } refusal: turn.Tell(refusal); break;
            case RoundSitePhase.Declined: turn.Tell(new RoundFailed(state.Run, state.Round!.Round, state.Failure)); break;
        }
    }

    private static void HearPolicy(Turn turn, PolicyDecided decided)
    {
        if (decided.Refusal.Length > 0)
        {
            Decline(turn, new RoundRefused(turn.State.Run, decided.Round, decided.Refusal, decided.ForJob));
            return;
        }
        turn.Record(new RoundTaken(decided.Round));
        turn.State = turn.State with { Phase = RoundSitePhase.Training };
        turn.Tell(new RoundAccepted(turn.State.Run, decided.Round));
        turn.Do(new TrainLocally(turn.State.Round!));
    }

    private static void HoldUpdate(Turn turn, UpdateOffer offer)
    {
        turn.Record(new UpdateReady(offer));
        turn.State = turn.State with { Phase = RoundSitePhase.Trained };
        if (!turn.State.Round!.Secure || turn.State.Stages.ContainsKey(SecureStage.MaskedInput))
            BeginDelivery(turn);
    }

    private static void BeginDelivery(Turn turn)
    {
        turn.State = turn.State with { Phase = RoundSitePhase.Delivering };
        Offer(turn);
    }

    private static void Offer(Turn turn)
    {
        turn.Tell(new UpdateOffered(turn.State.Run, turn.State.Ready!));
        turn.Do(new StartRetry());
    }

    private static void Decline(Turn turn, RoundRefused refusal)
    {
        turn.State = turn.State with { Phase = RoundSitePhase.Declined, Refusal = refusal };
        turn.Tell(refusal);
    }

    private static void Fail(Turn turn, string reason)
    {
        var round = turn.State.Round!.Round;
        if (turn.State.Phase == RoundSitePhase.Training)
            turn.Do(new StopTraining(round));
        turn.State = turn.State with { Phase = RoundSitePhase.Declined, Failure = reason, Refusal = null };
        turn.Tell(new RoundFailed(turn.State.Run, round, reason));
    }

    private static void Leave(Turn turn, RoundKey round)
    {
        if (turn.State.Phase == RoundSitePhase.Training)
            turn.Do(new StopTraining(round));
        if (round > turn.State.Over)
            turn.Record(new RoundLeft(round));
        turn.Do(new ForgetUpdate(round));
        turn.State = turn.State with { Phase = RoundSitePhase.Idle, Round = null };
    }

    private static void HearEvaluate(Turn turn, ModelVersion model)
    {
        if (turn.State.Evaluation is { } done && done.Version == model.Number)
            turn.Tell(Answer(done));
        else if (model.Number > turn.State.Evaluating)
        {
            turn.State = turn.State with { Evaluating = model.Number };
            turn.Do(new EvaluateLocally(model));
        }
    }

    private static void HearMeasured(Turn turn, LocalEvaluationDone done)
    {
        var evaluation = new ModelEvaluated(turn.State.Run, done.Version, done.Loss, done.Examples);
        turn.State = turn.State with { Evaluation = evaluation };
        turn.Tell(Answer(evaluation));
    }

    private static FromSite Answer(ModelEvaluated evaluation) => double.IsNaN(evaluation.Loss)
        ? new RoundRefused(evaluation.Run, new RoundKey(evaluation.Version, Attempt: 1), "the site has no measurement of this model that may leave it", ForJob: false)
        : evaluation;

    private static void Drain(Turn turn)
    {
        turn.State = turn.State with { Draining = true };
        turn.Tell(new SiteDraining(turn.State.Run));
    }

    private static void HearDismissed(Turn turn, Dismissed dismissed)
    {
        if (turn.State is { Phase: RoundSitePhase.Training, Round: { } round })
            turn.Do(new StopTraining(round.Round));
        turn.State = turn.State with { Phase = RoundSitePhase.Left };
        turn.Do(new LeaveFederation(dismissed.Reason, dismissed.ExitCode));
    }

    private static bool IsAt(Turn turn, RoundKey round, RoundSitePhase phase) => turn.State.Phase == phase && turn.State.Round?.Round == round;

    private static bool IsDelivering(Turn turn, UpdateId id) => turn.State.Phase == RoundSitePhase.Delivering && turn.State.Ready?.Id == id;

    private sealed class Turn(RoundSiteState state)
    {
        private readonly List<RoundSiteEffect> _effects = [];

        public RoundSiteState State { get; set; } = state;

        public IReadOnlyList<RoundSiteEffect> Effects => _effects;

        public void Do(RoundSiteEffect effect) => _effects.Add(effect);

        public void Tell(FromSite message) => Do(new TellCoordinator(message));

        public void Record(RoundSiteDecision decision)
        {
            Do(new JournalSite(decision));
            State = Apply(State, decision);
        }
    }
}
