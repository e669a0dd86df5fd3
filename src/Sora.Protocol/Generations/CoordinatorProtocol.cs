using Sora.Protocol.Api;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Generations;

/// <summary>
/// The coordinator's side of a run as a pure function: no clock, no socket, no thread, no randomness. A shell feeds it what
/// happens and does what it says; a simulator can do the same.
/// </summary>
/// <remarks>
/// Every event first changes what is known (a worker came, went, halted, reported), then <c>Reconsider</c> draws the
/// conclusions from what is known now. The rules of a change of membership:
/// <list type="number">
/// <item>All members halt. A member that has said <c>Halted</c> commits nothing more in its generation; one that says nothing in time,
/// or whose stream is gone, is put out.</item>
/// <item>The next generation begins at the highest step a halted worker holds; those who hold less take the state from those who hold it.
/// Only if nobody holds any state does it begin at the last checkpoint.</item>
/// <item>A step that was computed twice gives the same bytes: a worker that was put out and commits late harms nobody.</item>
/// </list>
/// </remarks>
public static partial class CoordinatorProtocol
{
    /// <summary>What follows from an event: the next state, and what to do in the order given.</summary>
    public static (CoordinatorState State, IReadOnlyList<CoordinatorEffect> Effects) Decide(CoordinatorState state, CoordinatorEvent happened)
    {
        var turn = new Turn(state);
        if (happened is RunSubmitted submitted)
            Submit(turn, submitted.Spec);
        else if (state.Phase == RunPhase.Ended)
            SendHome(turn, happened);
        else if (state.Phase != RunPhase.Idle)
            Learn(turn, happened);
        Reconsider(turn);
        return (turn.State, turn.Effects);
    }

    /// <summary>Rebuilds what survives a restart of the coordinator. Who is there is learned from the workers, which dial again.</summary>
    public static CoordinatorState Apply(CoordinatorState state, RunDecision decision) => decision switch
    {
        SubmissionAccepted accepted => Accepted(state, accepted.Spec) with { Phase = RunPhase.Recovering },
        GenerationDecided decided => state with
        {
            Generation = decided.Plan,
            LastGeneration = decided.Plan.Number,
            LastStep = decided.Plan.FirstStep,
            Reference = decided.Reference,
            NumericsDiffer = decided.NumericsDiffer,
        },
        RunTakenUp => state,
        WorkerBarred barred => state with { Barred = state.Barred.SetItem(barred.Process, barred.Reason) },
        StopDecided stop => state with { StopReason = stop.Reason },
        CheckpointTaken taken => state with { Checkpoint = new CheckpointMark(taken.Step, taken.Path), LastStep = Math.Max(state.LastStep, taken.Step) },
        RunEnded ended => state with { Phase = RunPhase.Ended, Outcome = ended.Outcome },
        _ => throw new ArgumentOutOfRangeException(nameof(decision), decision, "unknown decision"),
    };

    private static void Learn(Turn turn, CoordinatorEvent happened)
    {
        switch (happened)
        {
            case RunRecovered: Recover(turn); break;
            case WorkerArrived arrived: Arrive(turn, arrived.Hello); break;
            case WorkerLost lost: Lose(turn, lost); break;
            case WorkerSilent silent: HearSilence(turn, silent.Worker); break;
            case WorkerSaid said when turn.State.Workers.TryGetValue(said.Worker, out var worker): Hear(turn, worker, said.Message); break;
            case WorkerSaid said: HearOther(turn, said); break;
            case SecretDrawn drawn: Form(turn, drawn); break;
            case StopRequested stop: HearStop(turn, stop.Reason); break;
            case TimerFired fired: TimeOut(turn, fired); break;
        }
    }

    /// <summary>What is to be done, given what is known. Each conclusion may allow the next one.</summary>
    private static void Reconsider(Turn turn)
    {
        RunPhase before;
        do
        {
            before = turn.State.Phase;
            switch (before)
            {
                case RunPhase.Recovering: ReconsiderRecovery(turn); break;
                case RunPhase.Gathering: ReconsiderGathering(turn); break;
                case RunPhase.Joining or RunPhase.Running: ReconsiderRunning(turn); break;
                case RunPhase.Halting: ReconsiderHalting(turn); break;
                case RunPhase.Saving: ReconsiderSaving(turn); break;
            }
        }
        while (turn.State.Phase != before);
    }

    private static void Hear(Turn turn, WorkerState worker, FromWorker message)
    {
        switch (message.BodyCase)
        {
            case FromWorker.BodyOneofCase.Canary: HearCanary(turn, worker, message.Canary); break;
            case FromWorker.BodyOneofCase.Ready: HearReady(turn, worker, message.Ready); break;
            case FromWorker.BodyOneofCase.Step: HearStep(turn, message.Step); break;
            case FromWorker.BodyOneofCase.Evaluation: HearEvaluation(turn, message.Evaluation); break;
            case FromWorker.BodyOneofCase.Checkpoint: HearCheckpoint(turn, worker, message.Checkpoint); break;
            case FromWorker.BodyOneofCase.Heartbeat: HearBeat(turn, worker, message.Heartbeat); break;
            case FromWorker.BodyOneofCase.StateHash: HearStateHash(turn, worker, message.StateHash); break;
            case FromWorker.BodyOneofCase.Halted: HearHalted(turn, worker, message.Halted); break;
            case FromWorker.BodyOneofCase.Finished: HearFinished(turn, worker, message.Finished); break;
            case FromWorker.BodyOneofCase.Draining: turn.Update(worker with { Draining = true }); break;
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
            case RunTimer.Absence: AbsenceMissed(turn); break;
            case RunTimer.Halt: HaltMissed(turn, fired.After); break;
            case RunTimer.Save: SaveMissed(turn, fired.After); break;
            case RunTimer.Return: ReturnMissed(turn); break;
            case RunTimer.Backoff: turn.State = turn.State with { BackingOff = false }; break;
            case RunTimer.Quarantine: turn.State = turn.State with { Quarantined = turn.State.Quarantined.Clear() }; break;
        }
    }

    /// <summary>Messages of another run or generation come from a process that slept: they must do nothing.</summary>
    private static bool Concerns(CoordinatorState state, string run, ulong generation) =>
        run == state.Spec!.Run && state.Generation is { } current && (long)generation == current.Number;

    private static string Capital(object named) => named.ToString() is { Length: > 0 } text ? char.ToUpperInvariant(text[0]) + text[1..] : "";

    private static string Seconds(TimeSpan span) => FormattableString.Invariant($"{span.TotalSeconds:0.#} s");

    /// <summary>One call of <see cref="Decide"/> being put together.</summary>
    private sealed class Turn(CoordinatorState state)
    {
        private readonly List<CoordinatorEffect> _effects = [];

        public CoordinatorState State { get; set; } = state;

        public RunSpec Spec => State.Spec!;

        public IEnumerable<WorkerState> Workers => State.Workers.Values;

        public IReadOnlyList<CoordinatorEffect> Effects => _effects;

        public void Do(CoordinatorEffect effect) => _effects.Add(effect);

        public void Tell(string worker, FromCoordinator message) => Do(new TellWorker(worker, message));

        public void Update(WorkerState worker) => State = State with { Workers = State.Workers.SetItem(worker.Id, worker) };

        public void Forget(WorkerState worker) => State = State with { Workers = State.Workers.Remove(worker.Id) };

        public void Dismiss(WorkerState worker, string reason, int exitCode)
        {
            Tell(worker.Id, Goodbye(reason, exitCode));
            Forget(worker);
        }
    }
}
