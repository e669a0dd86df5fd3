using Sora.Protocol.Api;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Generations;

// The three ways out: finished, stopped, failed. And the checkpoint before one stops.
public static partial class CoordinatorProtocol
{
    private static void HearFinished(Turn turn, WorkerState worker, Finished finished)
    {
        if (finished.Run != turn.Spec.Run)
            return;
        var inForce = worker.InGeneration && Concerns(turn.State, finished.Run, finished.Generation);
        // It was on its way to the end when the order to halt at once came, and has not answered that.
        if ((inForce && turn.State is { Phase: RunPhase.Halting, HaltAtOnce: true }) || worker.Stage == WorkerStage.Stray)
            turn.Tell(worker.Id, HaltMessage(turn, (long)finished.Generation, gracefully: false, "the work goes on without this generation"));
        if (!inForce)
            return;
        turn.Update(worker with { Stage = WorkerStage.Finished, HeldStep = (long)finished.Step, WeightsSha256 = finished.WeightsSha256 });
        turn.State = turn.State with { LastStep = Math.Max(turn.State.LastStep, (long)finished.Step) };
        ResolveDoubt(turn);
    }

    /// <summary>The last step is committed and saved. Who has not finished yet holds nothing that would be missed.</summary>
    private static bool WorkIsDone(Turn turn) =>
        turn.State.Checkpoint?.Step == turn.Spec.MaxSteps && turn.Workers.Any(worker => worker.WeightsSha256.Length > 0);

    private static void Conclude(Turn turn)
    {
        var members = turn.Workers.Where(worker => worker.WeightsSha256.Length > 0).ToList();
        // Its writer may have died after all others had finished: somebody else writes it then.
        if (turn.State.Checkpoint?.Step != turn.State.LastStep)
        {
            Change(turn, gracefully: false, "the last checkpoint is missing");
            return;
        }
        var odd = members.FirstOrDefault(member => member.WeightsSha256 != members[0].WeightsSha256);
        if (odd is not null)
        {
            Fail(turn, new RunFault(odd.Id, $"The replicas diverged: {members[0]} ended with weights {members[0].WeightsSha256}, {odd} with {odd.WeightsSha256}. "
                + "One of the machines computes wrongly (memory, overclocking, driver); do not trust these weights.", ExitCode.Failure));
            return;
        }
        var state = turn.State;
        End(turn, new RunFinished(state.LastStep, state.LastLoss, state.EvalLoss, members[0].WeightsSha256, turn.Spec.OutputDir), "the run is finished", ExitCode.Ok);
    }

    /// <summary>What the run can go back to when nobody holds any state.</summary>
    private static long SavedStep(Turn turn) => turn.State.Checkpoint?.Step ?? turn.Spec.FirstStep;

    /// <summary>Before a run stops, or its last workers leave, one that holds the newest state writes it down.</summary>
    private static void BeginSaving(Turn turn) => turn.State = turn.State with { Phase = RunPhase.Saving, Saver = "" };

    private static void ReconsiderSaving(Turn turn)
    {
        if (turn.State.Saver.Length > 0 || WorthWaiting(turn))
            return;
        var highest = HighestHeld(turn);
        if (highest < 0 || turn.State.Checkpoint?.Step >= highest)
        {
            EndSaving(turn);
            return;
        }
        var saver = turn.Workers.First(worker => worker is { Stage: WorkerStage.Waiting, Linked: true } && worker.TrustedStep == highest);
        turn.State = turn.State with { Saver = saver.Id };
        turn.Do(new SetTimer(RunTimer.Save));
        TellSave(turn, saver);
    }

    private static void TellSave(Turn turn, WorkerState saver) =>
        turn.Tell(saver.Id, new FromCoordinator { Save = new Save { Run = turn.Spec.Run, Step = (ulong)saver.HeldStep } });

    private static void SaveMissed(Turn turn, TimeSpan after)
    {
        if (turn.State.Phase != RunPhase.Saving)
            return;
        turn.Do(new Publish(new RunWarning($"No checkpoint was written within {Seconds(after)}.")));
        EndSaving(turn);
    }

    private static void EndSaving(Turn turn)
    {
        turn.Do(new CancelTimer(RunTimer.Save));
        if (turn.State.StopReason.Length > 0)
        {
            EndStopped(turn);
            return;
        }
        foreach (var worker in turn.Workers.Where(worker => worker is { Draining: true, Stage: WorkerStage.Waiting }).ToList())
            Release(turn, worker);
        turn.State = turn.State with { Phase = RunPhase.Gathering, Saver = "" };
    }

    private static void HearStop(Turn turn, string reason)
    {
        if (turn.State.StopReason.Length > 0)
            return;
        turn.State = turn.State with { StopReason = reason };
        turn.Do(new RecordDecision(new StopDecided(reason)));
    }

    private static void EndStopped(Turn turn) => End(
        turn, new RunStopped(turn.State.LastStep, turn.State.Checkpoint?.Path, turn.State.StopReason), $"the run is stopped: {turn.State.StopReason}", ExitCode.Resumable);

    private static void Fail(Turn turn, RunFault fault)
    {
        var checkpoint = turn.State.Checkpoint;
        var advice = checkpoint is not null ? $" Resume from step {checkpoint.Step} ({checkpoint.Path}) with --resume auto." : "";
        End(turn, new RunFailed(turn.State.LastStep, fault.Message + advice, fault.Worker, checkpoint?.Path, fault.ExitCode), $"the run failed: {fault.Message}", fault.ExitCode);
    }

    private static void End(Turn turn, RunEvent outcome, string goodbye, int exitCode)
    {
        foreach (var worker in turn.State.Workers.Keys.Concat(turn.State.Standby.Select(standby => standby.Id)))
            turn.Tell(worker, Goodbye(goodbye, exitCode));
        foreach (var timer in Enum.GetValues<RunTimer>())
            turn.Do(new CancelTimer(timer));
        turn.State = turn.State with { Phase = RunPhase.Ended, Outcome = outcome };
        turn.Do(new RecordDecision(new RunEnded(outcome)));
        turn.Do(new Publish(outcome));
    }

    /// <summary>The run is over, and a worker of it dials that has not heard so: its stream was broken, or another coordinator ended it.</summary>
    private static void SendHome(Turn turn, CoordinatorEvent happened)
    {
        if (happened is WorkerArrived { Hello: { Standing.Run: { } run } hello } && run == turn.Spec.Run)
            turn.Tell(hello.Worker, Farewell(run, turn.State.Outcome));
    }

    /// <summary>What a worker is told that comes for a run which is not computed here, or not any more.</summary>
    /// <param name="run">Id of the run.</param>
    /// <param name="outcome">How it ended; null: nothing is known of it.</param>
    public static FromCoordinator Farewell(string run, RunEvent? outcome) => outcome switch
    {
        RunFinished => Goodbye("the run is finished", ExitCode.Ok),
        RunStopped stopped => Goodbye($"the run is stopped: {stopped.Reason}", ExitCode.Resumable),
        RunFailed failed => Goodbye($"the run failed: {failed.Message}", failed.ExitCode),
        _ => Goodbye($"run {run} is not computed here", ExitCode.Failure),
    };

    private static FromCoordinator Goodbye(string reason, int exitCode) => new() { Goodbye = new Goodbye { Reason = reason, ExitCode = (uint)exitCode } };
}
