using Sora.Protocol.Api;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Generations;

/// <summary>
/// The coordinator's side of a run as a pure function: no clock, no socket, no thread, no randomness. A shell feeds it what
/// happens and does what it says; a simulator can do the same. One failure ends the run for now, yet generations are
/// numbered and every message is checked against the run and generation it belongs to.
/// </summary>
public static partial class CoordinatorProtocol
{
    /// <summary>What follows from an event: the next state, and what to do in the order given.</summary>
    public static (CoordinatorState State, IReadOnlyList<CoordinatorEffect> Effects) Decide(CoordinatorState state, CoordinatorEvent happened)
    {
        var turn = new Turn(state);
        if (happened is RunSubmitted submitted)
            Submit(turn, submitted.Spec);
        else if (state.Phase is not (RunPhase.Idle or RunPhase.Ended))
            Continue(turn, happened);
        return (turn.State, turn.Effects);
    }

    /// <summary>Rebuilds what survives a restart of the coordinator. Workers do not: they dial in again.</summary>
    public static CoordinatorState Apply(CoordinatorState state, RunDecision decision) => decision switch
    {
        SubmissionAccepted accepted => Accepted(state, accepted.Spec),
        GenerationDecided decided => state with { LastGeneration = decided.Plan.Number, NumericsDiffer = decided.NumericsDiffer },
        CheckpointTaken taken => state with { Checkpoint = new CheckpointMark(taken.Step, taken.Path) },
        RunEnded ended => state with { Phase = RunPhase.Ended, Outcome = ended.Outcome },
        _ => throw new ArgumentOutOfRangeException(nameof(decision), decision, "unknown decision"),
    };

    private static void Continue(Turn turn, CoordinatorEvent happened)
    {
        switch (happened)
        {
            case WorkerArrived arrived: Arrive(turn, arrived.Hello); break;
            case WorkerLost lost: Lose(turn, lost); break;
            case WorkerSaid said when turn.State.Workers.TryGetValue(said.Worker, out var worker): Hear(turn, worker, said.Message); break;
            case WorkerSaid said: HearStandby(turn, said); break;
            case SecretDrawn drawn: Form(turn, drawn); break;
            case StopRequested stop: RequestStop(turn, stop.Reason); break;
            case TimerFired fired: TimeOut(turn, fired); break;
        }
    }

    private static void Hear(Turn turn, WorkerState worker, FromWorker message)
    {
        switch (message.BodyCase)
        {
            case FromWorker.BodyOneofCase.Canary: HearCanary(turn, worker, message.Canary); break;
            case FromWorker.BodyOneofCase.Ready: HearReady(turn, worker, message.Ready); break;
            case FromWorker.BodyOneofCase.Step: HearStep(turn, message.Step); break;
            case FromWorker.BodyOneofCase.Evaluation: HearEvaluation(turn, message.Evaluation); break;
            case FromWorker.BodyOneofCase.Checkpoint: HearCheckpoint(turn, message.Checkpoint); break;
            case FromWorker.BodyOneofCase.Finished: HearFinished(turn, worker, message.Finished); break;
            case FromWorker.BodyOneofCase.Stopped: HearStopped(turn, worker, message.Stopped); break;
            case FromWorker.BodyOneofCase.Failed: HearFailed(turn, worker, message.Failed); break;
            case FromWorker.BodyOneofCase.Warning: turn.Do(new Publish(new RunWarning($"{worker}: {message.Warning.Message}"))); break;
        }
    }

    private static void TimeOut(Turn turn, TimerFired fired)
    {
        switch (fired.Timer)
        {
            case RunTimer.Arrival: ArrivalMissed(turn, fired.After); break;
            case RunTimer.Readiness: ReadinessMissed(turn, fired.After); break;
            case RunTimer.CauseGrace when turn.State.Echo is { } echo: Fail(turn, echo); break;
            case RunTimer.Stop: StopMissed(turn, fired.After); break;
        }
    }

    /// <summary>Messages of another run or generation come from a process that slept: they must do nothing.</summary>
    private static bool Concerns(CoordinatorState state, string run, ulong generation) =>
        run == state.Spec!.Run && state.Generation is { } current && (long)generation == current.Number;

    /// <summary>One call of <see cref="Decide"/> being put together.</summary>
    private sealed class Turn(CoordinatorState state)
    {
        private readonly List<CoordinatorEffect> _effects = [];

        public CoordinatorState State { get; set; } = state;

        public RunSpec Spec => State.Spec!;

        public IReadOnlyList<CoordinatorEffect> Effects => _effects;

        public void Do(CoordinatorEffect effect) => _effects.Add(effect);

        public void Tell(string worker, FromCoordinator message) => Do(new TellWorker(worker, message));

        public void TellAll(FromCoordinator message)
        {
            foreach (var worker in State.Workers.Keys)
                Tell(worker, message);
        }

        public void Update(WorkerState worker) => State = State with { Workers = State.Workers.SetItem(worker.Id, worker) };
    }
}
