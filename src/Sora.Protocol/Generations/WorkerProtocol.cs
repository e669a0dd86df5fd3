using Sora.Protocol.Jobs;

namespace Sora.Protocol.Generations;

/// <summary>
/// The worker's side of a run as a pure function: no clock, no socket, no thread. A shell feeds it what happens and does what
/// it says; a simulator can do the same. Whatever belongs to another run or generation changes nothing, so a process
/// that slept through half a run is harmless when it wakes. A worker in a generation needs no coordinator: while there is
/// none it goes on computing, and tells where it stands to the next one it reaches.
/// </summary>
public static class WorkerProtocol
{
    /// <summary>Version of the messages between workers and coordinators.</summary>
    public const int Version = 3;

    private static readonly IReadOnlyList<WorkerEffect> Nothing = [];

    /// <summary>What follows from an event: the next state, and what to do in the order given.</summary>
    public static (WorkerProtocolState State, IReadOnlyList<WorkerEffect> Effects) Decide(WorkerProtocolState state, WorkerEvent happened) =>
        (state.Phase, happened) switch
        {
            (WorkerPhase.Ended, _) => (state, Nothing),

            (_, WorkerEvent.Connected) => (state with { Linked = true }, Introduce(state)),
            (_, WorkerEvent.Disconnected) => Disconnect(state),
            (_, WorkerEvent.CoordinatorGone gone) => End(state, ExitCode.Unreachable, "The coordinator is gone: " + gone.Reason),

            (WorkerPhase.Idle, WorkerEvent.Assigned(var assignment)) =>
                (state with { Phase = WorkerPhase.Proving, Run = assignment.Run }, [new WorkerEffect.Prove(assignment)]),

            (WorkerPhase.Proving, WorkerEvent.Proved proved) when proved.Run == state.Run =>
                (state with { Phase = WorkerPhase.Waiting, Canary = proved.Canary, Parameters = proved.Parameters },
                    [new WorkerEffect.SendCanary(state.Run, proved.Canary, proved.Parameters)]),

            (WorkerPhase.Waiting, WorkerEvent.GenerationFormed(var generation)) => Join(state, generation),

            (WorkerPhase.Joining, WorkerEvent.Joined joined) when joined.Generation == state.Generation =>
                (state with { Phase = WorkerPhase.Training, Step = joined.Step },
                    [new WorkerEffect.SendReady(state.Run, state.Generation, joined.Step), new WorkerEffect.Train(state.Generation)]),

            (WorkerPhase.Training, WorkerEvent.StepCommitted committed) when committed.Generation == state.Generation =>
                (state with { Step = committed.Step }, Nothing),

            (_, WorkerEvent.HaltOrdered ordered) when ordered.Run == state.Run => Halt(state, ordered),

            (WorkerPhase.Joining or WorkerPhase.Training, WorkerEvent.WorkHalted halted) when halted.Generation == state.Generation =>
                Halted(state with { Step = halted.Step }, halted.Reason, halted.Suspects, halted.NotFinite),

            (WorkerPhase.Waiting, WorkerEvent.SaveOrdered ordered) when ordered.Run == state.Run && ordered.Step == state.Step =>
                (state, [new WorkerEffect.Save(state.Step)]),

            (WorkerPhase.Training, WorkerEvent.TrainingFinished finished) when finished.Generation == state.Generation =>
                (state with { Phase = WorkerPhase.Finished, Step = finished.Step, WeightsSha256 = finished.WeightsSha256 },
                    [new WorkerEffect.SendFinished(state.Run, state.Generation, finished.Step, finished.WeightsSha256)]),

            // Work that ends after its generation was left has nothing more to say; only a failure of the first kind ends a worker.
            (WorkerPhase.Finished, WorkerEvent.WorkFailed) => (state, Nothing),
            (_, WorkerEvent.WorkFailed failed) when failed.Generation == state.Generation || failed.Generation == 0 => Fail(state, failed),

            (_, WorkerEvent.DrainSignalled(var reason)) => Drain(state, reason),

            (_, WorkerEvent.Refused refused) => End(state, refused.ExitCode == 0 ? ExitCode.Failure : refused.ExitCode, "The coordinator refuses this worker: " + refused.Reason),
            (_, WorkerEvent.Dismissed dismissed) => End(state, dismissed.ExitCode, dismissed.ExitCode == ExitCode.Ok ? null : "The coordinator lets this worker go: " + dismissed.Reason),

            _ => (state, Nothing),
        };

    /// <summary>
    /// The standing, and then whatever a broken stream may have swallowed. A coordinator that knows it already is not disturbed.
    /// </summary>
    private static List<WorkerEffect> Introduce(WorkerProtocolState state)
    {
        var effects = new List<WorkerEffect> { new WorkerEffect.SendHello(Standing(state)) };
        switch (state.Phase)
        {
            case WorkerPhase.Waiting when state.Generation > 0:
                effects.Add(new WorkerEffect.SendHalted(state.Run, state.Generation, state.Step, "", []));
                break;
            case WorkerPhase.Waiting:
                effects.Add(new WorkerEffect.SendCanary(state.Run, state.Canary, state.Parameters));
                break;
            case WorkerPhase.Training:
                effects.Add(new WorkerEffect.SendReady(state.Run, state.Generation, state.Step));
                break;
            case WorkerPhase.Finished:
                effects.Add(new WorkerEffect.SendFinished(state.Run, state.Generation, state.Step, state.WeightsSha256));
                break;
        }
        return effects;
    }

    private static WorkerStanding Standing(WorkerProtocolState state) => new(
        state.Run, state.Generation, state.Step, state.Canary, state.Parameters,
        InGeneration: state.Phase is WorkerPhase.Joining or WorkerPhase.Training or WorkerPhase.Finished, state.Draining);

    private static (WorkerProtocolState, IReadOnlyList<WorkerEffect>) Disconnect(WorkerProtocolState state)
    {
        var without = state with { Linked = false };
        // Nobody is left who could arrange for another worker to take over.
        return state.Draining && state.Phase is not (WorkerPhase.Joining or WorkerPhase.Training)
            ? End(without, ExitCode.Ok, "The coordinator is gone and this worker was told to end.")
            : (without, Nothing);
    }

    private static (WorkerProtocolState, IReadOnlyList<WorkerEffect>) Join(WorkerProtocolState state, WorkerGeneration generation)
    {
        var rank = generation.Members.Select(member => member.Worker).ToList().IndexOf(state.Worker);
        if (generation.Run != state.Run || generation.Number <= state.Generation || rank < 0)
            return (state, Nothing);
        return (state with { Phase = WorkerPhase.Joining, Generation = generation.Number, Rank = rank }, [new WorkerEffect.Join(generation, rank)]);
    }

    private static (WorkerProtocolState, IReadOnlyList<WorkerEffect>) Halt(WorkerProtocolState state, WorkerEvent.HaltOrdered ordered)
    {
        // The order may be a repetition; so is the answer then.
        if (state.Phase == WorkerPhase.Waiting && state.Generation >= ordered.Generation && state.Generation > 0)
            return (state, [new WorkerEffect.SendHalted(state.Run, state.Generation, state.Step, "", [])]);
        if (ordered.Generation != state.Generation)
            return (state, Nothing);
        return state.Phase switch
        {
            // The others will have finished too, unless something breaks, and then the order is another.
            WorkerPhase.Finished when ordered.Gracefully => (state, Nothing),
            WorkerPhase.Finished => Halted(state, "", []),
            WorkerPhase.Joining or WorkerPhase.Training when !ordered.Gracefully => (state, [new WorkerEffect.BreakOff(state.Generation, ordered.Reason)]),
            WorkerPhase.Joining or WorkerPhase.Training => (state, [new WorkerEffect.HaltAfterStep(state.Generation)]),
            _ => (state, Nothing),
        };
    }

    private static (WorkerProtocolState, IReadOnlyList<WorkerEffect>) Halted(WorkerProtocolState state, string reason, IReadOnlyList<string> suspects, IReadOnlyList<int>? notFinite = null)
    {
        var waiting = state with { Phase = WorkerPhase.Waiting };
        if (state is { Draining: true, Linked: false })
            return End(waiting, ExitCode.Ok, "This worker was told to end, and no coordinator is there to wait for.");
        return (waiting, [new WorkerEffect.SendHalted(state.Run, state.Generation, state.Step, reason, suspects, notFinite)]);
    }

    private static (WorkerProtocolState, IReadOnlyList<WorkerEffect>) Drain(WorkerProtocolState state, string reason)
    {
        if (state.Draining)
            return End(state, ExitCode.Ok, $"{reason}, for the second time: leaving at once.");
        var draining = state with { Draining = true };
        return state.Phase switch
        {
            // Nothing that anybody could miss.
            WorkerPhase.Idle or WorkerPhase.Proving => End(draining, ExitCode.Ok, null),
            WorkerPhase.Waiting when state.Step < 0 || !state.Linked => End(draining, ExitCode.Ok, null),
            // Without a coordinator the peers can only be told to halt together; they wait for one then.
            WorkerPhase.Training when !state.Linked => (draining, [new WorkerEffect.HaltAfterStep(state.Generation)]),
            WorkerPhase.Joining when !state.Linked => (draining, [new WorkerEffect.BreakOff(state.Generation, reason)]),
            _ => (draining, [new WorkerEffect.SendDraining(reason)]),
        };
    }

    private static (WorkerProtocolState, IReadOnlyList<WorkerEffect>) Fail(WorkerProtocolState state, WorkerEvent.WorkFailed failed)
    {
        var (ended, effects) = End(state, failed.ExitCode, failed.Message);
        return (ended, [new WorkerEffect.SendFailed(state.Run, state.Generation, state.Step, failed.Message, failed.Detail, failed.ExitCode, failed.CannotSave), .. effects]);
    }

    private static (WorkerProtocolState, IReadOnlyList<WorkerEffect>) End(WorkerProtocolState state, int exitCode, string? message) =>
        (state with { Phase = WorkerPhase.Ended, ExitCode = exitCode }, [new WorkerEffect.Abandon(message ?? "its work is done"), new WorkerEffect.Exit(exitCode, message)]);
}
