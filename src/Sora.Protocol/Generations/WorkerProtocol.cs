using Sora.Protocol.Jobs;

namespace Sora.Protocol.Generations;

/// <summary>Where a worker stands.</summary>
public enum WorkerPhase
{
    /// <summary>The stream to the coordinator is not open yet.</summary>
    Connecting,
    /// <summary>It has introduced itself and has no work.</summary>
    Idle,
    /// <summary>It computes the canary of its assignment.</summary>
    Proving,
    /// <summary>It waits to be made a member of a generation.</summary>
    Waiting,
    /// <summary>It connects to its peers and takes up the state of the first step.</summary>
    Joining,
    /// <summary>It could compute and waits for the others.</summary>
    Ready,
    /// <summary>It computes.</summary>
    Training,
    /// <summary>It computes the step after which all stop.</summary>
    Stopping,
    /// <summary>It has reported how it ended and waits to be dismissed.</summary>
    Leaving,
    /// <summary>It is over.</summary>
    Ended,
}

/// <summary>Everything a worker knows about its part in a run. Immutable; <see cref="WorkerProtocol.Decide"/> makes the next one.</summary>
/// <param name="Worker">This worker's id.</param>
public sealed record WorkerProtocolState(string Worker)
{
    /// <summary>Where it stands.</summary>
    public WorkerPhase Phase { get; init; }

    /// <summary>Run it works for; empty before an assignment.</summary>
    public string Run { get; init; } = "";

    /// <summary>Generation it is in; 0 before one.</summary>
    public long Generation { get; init; }

    /// <summary>Its rank there.</summary>
    public int Rank { get; init; }

    /// <summary>Steps committed.</summary>
    public long Step { get; init; }

    /// <summary>Exit code to leave with, from <see cref="WorkerPhase.Leaving"/> on.</summary>
    public int ExitCode { get; init; }
}

/// <summary>
/// The worker's side of a run as a pure function: no clock, no socket, no thread. A shell feeds it what happens and does what
/// it says; a simulator can do the same. Whatever belongs to another run or generation changes nothing, so a process
/// that slept through half a run is harmless when it wakes.
/// </summary>
public static class WorkerProtocol
{
    /// <summary>Version of the messages between workers and coordinators.</summary>
    public const int Version = 1;

    private static readonly IReadOnlyList<WorkerEffect> Nothing = [];

    /// <summary>What follows from an event: the next state, and what to do in the order given.</summary>
    public static (WorkerProtocolState State, IReadOnlyList<WorkerEffect> Effects) Decide(WorkerProtocolState state, WorkerEvent happened) =>
        (state.Phase, happened) switch
        {
            (WorkerPhase.Ended, _) => (state, Nothing),

            (WorkerPhase.Connecting, WorkerEvent.Connected) =>
                (state with { Phase = WorkerPhase.Idle }, [new WorkerEffect.SendHello()]),

            (WorkerPhase.Idle, WorkerEvent.Assigned(var assignment)) =>
                (state with { Phase = WorkerPhase.Proving, Run = assignment.Run, Step = assignment.FirstStep }, [new WorkerEffect.Prove(assignment)]),

            (WorkerPhase.Proving, WorkerEvent.Proved proved) when proved.Run == state.Run =>
                (state with { Phase = WorkerPhase.Waiting }, [new WorkerEffect.SendCanary(state.Run, proved.Canary, proved.Parameters)]),

            (WorkerPhase.Waiting, WorkerEvent.GenerationFormed(var generation)) => Join(state, generation),

            (WorkerPhase.Joining, WorkerEvent.Joined joined) when joined.Generation == state.Generation =>
                (state with { Phase = WorkerPhase.Ready, Step = joined.Step }, [new WorkerEffect.SendReady(state.Run, state.Generation, joined.Step)]),

            (WorkerPhase.Ready, WorkerEvent.Started started) when started.Run == state.Run && started.Generation == state.Generation =>
                (state with { Phase = WorkerPhase.Training }, [new WorkerEffect.Train(state.Generation)]),

            (WorkerPhase.Training or WorkerPhase.Stopping, WorkerEvent.StepCommitted committed) when committed.Generation == state.Generation =>
                (state with { Step = committed.Step }, Nothing),

            (WorkerPhase.Training, WorkerEvent.StopOrdered ordered) when ordered.Run == state.Run =>
                (state with { Phase = WorkerPhase.Stopping }, [new WorkerEffect.RequestStop(ordered.Checkpoint)]),

            (WorkerPhase.Training, WorkerEvent.StopSignalled) =>
                (state with { Phase = WorkerPhase.Stopping }, [new WorkerEffect.RequestStop(Checkpoint: true)]),

            // It is stopping already, or it has only to be dismissed: asking once more changes nothing.
            (WorkerPhase.Stopping or WorkerPhase.Leaving, WorkerEvent.StopSignalled) => (state, Nothing),
            (_, WorkerEvent.StopSignalled(var reason)) => GiveUp(state, $"{reason} before training began", ExitCode.Failure),

            (WorkerPhase.Training or WorkerPhase.Stopping, WorkerEvent.TrainingFinished finished) when finished.Generation == state.Generation =>
                (state with { Phase = WorkerPhase.Leaving, Step = finished.Step, ExitCode = ExitCode.Ok },
                    [new WorkerEffect.SendFinished(state.Run, state.Generation, finished.Step, finished.WeightsSha256)]),

            (WorkerPhase.Training or WorkerPhase.Stopping, WorkerEvent.TrainingStopped stopped) when stopped.Generation == state.Generation =>
                (state with { Phase = WorkerPhase.Leaving, Step = stopped.Step, ExitCode = ExitCode.Resumable },
                    [new WorkerEffect.SendStopped(state.Run, state.Generation, stopped.Step, stopped.Checkpoint)]),

            (WorkerPhase.Leaving, WorkerEvent.WorkFailed) => (state, Nothing),
            (_, WorkerEvent.WorkFailed failed) when failed.Generation == state.Generation => Fail(state, failed),

            (_, WorkerEvent.Refused refused) => End(state, refused.ExitCode == 0 ? ExitCode.Failure : refused.ExitCode, "The coordinator refuses this worker: " + refused.Reason),

            (WorkerPhase.Leaving, WorkerEvent.Dismissed or WorkerEvent.CoordinatorLost) => End(state, state.ExitCode, null),
            (WorkerPhase.Connecting or WorkerPhase.Idle or WorkerPhase.Proving or WorkerPhase.Waiting, WorkerEvent.Dismissed dismissed) => End(state, ExitCode.Ok, "Not needed any more: " + dismissed.Reason),
            (_, WorkerEvent.Dismissed dismissed) => End(state, ExitCode.Failure, $"The coordinator ended the run after step {state.Step}: {dismissed.Reason}"),
            (_, WorkerEvent.CoordinatorLost lost) => End(state, ExitCode.Unreachable, "The coordinator is gone: " + lost.Reason),

            _ => (state, Nothing),
        };

    private static (WorkerProtocolState, IReadOnlyList<WorkerEffect>) Join(WorkerProtocolState state, WorkerGeneration generation)
    {
        var rank = generation.Members.Select(member => member.Worker).ToList().IndexOf(state.Worker);
        if (generation.Run != state.Run || generation.Number <= state.Generation || rank < 0)
            return (state, Nothing);
        return (state with { Phase = WorkerPhase.Joining, Generation = generation.Number, Rank = rank }, [new WorkerEffect.Join(generation, rank)]);
    }

    private static (WorkerProtocolState, IReadOnlyList<WorkerEffect>) Fail(WorkerProtocolState state, WorkerEvent.WorkFailed failed)
    {
        var (ended, effects) = End(state, failed.ExitCode, failed.Message);
        return (ended, [new WorkerEffect.SendFailed(state.Run, state.Generation, state.Step, failed.Message, failed.Detail, failed.ExitCode, failed.PeerLost), .. effects]);
    }

    private static (WorkerProtocolState, IReadOnlyList<WorkerEffect>) GiveUp(WorkerProtocolState state, string reason, int exitCode) =>
        Fail(state, new WorkerEvent.WorkFailed(state.Generation, reason, "", exitCode, PeerLost: false));

    private static (WorkerProtocolState, IReadOnlyList<WorkerEffect>) End(WorkerProtocolState state, int exitCode, string? message) =>
        (state with { Phase = WorkerPhase.Ended, ExitCode = exitCode }, [new WorkerEffect.Abandon(message ?? "its work is done"), new WorkerEffect.Exit(exitCode, message)]);
}
