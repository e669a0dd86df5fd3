using Sora.Protocol.Api;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Generations;

// The three ways out: finished, stopped, failed.
public static partial class CoordinatorProtocol
{
    private static void HearFinished(Turn turn, WorkerState worker, Finished finished)
    {
        if (!Computing(turn.State) || !Concerns(turn.State, finished.Run, finished.Generation) || worker.Stage != WorkerStage.Ready)
            return;
        turn.Update(worker with { Stage = WorkerStage.Finished, WeightsSha256 = finished.WeightsSha256 });
        turn.State = turn.State with
        {
            Phase = turn.State.Phase == RunPhase.Stopping ? RunPhase.Stopping : RunPhase.Finishing,
            LastStep = Math.Max(turn.State.LastStep, (long)finished.Step),
        };
        Conclude(turn);
    }

    private static void HearStopped(Turn turn, WorkerState worker, Stopped stopped)
    {
        if (!Computing(turn.State) || !Concerns(turn.State, stopped.Run, stopped.Generation) || worker.Stage != WorkerStage.Ready)
            return;
        // A worker may be told to stop by its own machine; the exchange has then stopped all of them.
        if (turn.State.Phase != RunPhase.Stopping)
            BeginStopping(turn, $"{worker} was asked to stop");
        turn.Update(worker with { Stage = WorkerStage.Stopped });
        turn.State = turn.State with { LastStep = Math.Max(turn.State.LastStep, (long)stopped.Step) };
        if (stopped.Checkpoint.Length > 0)
            KeepCheckpoint(turn, (long)stopped.Step, stopped.Checkpoint, "");
        Conclude(turn);
    }

    private static void RequestStop(Turn turn, string reason)
    {
        switch (turn.State.Phase)
        {
            case RunPhase.Running or RunPhase.Finishing:
                BeginStopping(turn, reason);
                turn.TellAll(new FromCoordinator { Stop = new Stop { Run = turn.Spec.Run, Reason = reason, Checkpoint = true } });
                break;
            case RunPhase.Stopping:
                break;
            default: // nothing is computed yet
                turn.State = turn.State with { StopReason = reason };
                EndStopped(turn);
                break;
        }
    }

    private static void BeginStopping(Turn turn, string reason)
    {
        turn.State = turn.State with { Phase = RunPhase.Stopping, StopReason = reason };
        turn.Do(new SetTimer(RunTimer.Stop));
    }

    /// <summary>Ends the run once every member has said how it ended.</summary>
    private static void Conclude(Turn turn)
    {
        var members = turn.State.Workers.Values.ToList();
        if (members.Any(member => member.Stage is not (WorkerStage.Finished or WorkerStage.Stopped or WorkerStage.Gone)))
            return;
        var saved = turn.State.Checkpoint?.Step == turn.State.LastStep && members.Any(member => member.Stage == WorkerStage.Stopped);
        if (members.All(member => member.Stage == WorkerStage.Finished))
            ConcludeFinished(turn, members);
        else if (turn.State.Echo is { } fault && !saved)
            Fail(turn, fault);
        else
            EndStopped(turn);
    }

    private static void ConcludeFinished(Turn turn, IReadOnlyList<WorkerState> members)
    {
        var odd = members.FirstOrDefault(member => member.WeightsSha256 != members[0].WeightsSha256);
        if (odd is not null)
        {
            Fail(turn, new RunFault(odd.Id, $"The replicas diverged: {members[0]} ended with weights {members[0].WeightsSha256}, {odd} with {odd.WeightsSha256}. "
                + "One of the machines computes wrongly (memory, overclocking, driver); do not trust these weights.", ExitCode.Failure));
            return;
        }
        var state = turn.State;
        End(turn, new RunFinished(state.LastStep, state.LastLoss, state.EvalLoss, members[0].WeightsSha256, turn.Spec.OutputDir), "the run is finished");
    }

    private static void EndStopped(Turn turn) =>
        End(turn, new RunStopped(turn.State.LastStep, turn.State.Checkpoint?.Path, turn.State.StopReason), $"the run is stopped: {turn.State.StopReason}");

    private static void StopMissed(Turn turn, TimeSpan after)
    {
        if (turn.State.Phase != RunPhase.Stopping)
            return;
        var late = turn.State.Workers.Values.Where(worker => worker.Stage == WorkerStage.Ready).ToList();
        foreach (var worker in late)
            MarkGone(turn, worker, new RunFault(worker.Id, $"{Capital(worker)} did not stop within {Seconds(after)}.", ExitCode.Failure));
        Conclude(turn);
    }

    private static void HearFailed(Turn turn, WorkerState worker, Failed failed)
    {
        // A worker may fail before it knows its run or generation.
        var concerns = (failed.Run.Length == 0 || failed.Run == turn.Spec.Run)
            && (failed.Generation == 0 || (long)failed.Generation == turn.State.Generation?.Number);
        if (!concerns || worker.Stage is WorkerStage.Finished or WorkerStage.Stopped or WorkerStage.Gone)
            return;
        var message = $"{Capital(worker)} failed after step {turn.State.LastStep}: {failed.Message}";
        var fault = new RunFault(worker.Id, message, failed.ExitCode == 0 ? ExitCode.Failure : (int)failed.ExitCode);
        if (turn.State.Phase == RunPhase.Stopping)
        {
            MarkGone(turn, worker, fault);
            Conclude(turn);
        }
        else if (!failed.PeerLost)
        {
            Fail(turn, fault);
        }
        else
        {
            // The first echo starts the wait; the stream it leaves behind closes next and is no news either.
            if (turn.State.Echo is null)
                turn.Do(new SetTimer(RunTimer.CauseGrace));
            MarkGone(turn, worker, fault);
        }
    }

    private static void HearStandby(Turn turn, WorkerSaid said)
    {
        if (said.Message.BodyCase == FromWorker.BodyOneofCase.Failed)
            turn.State = turn.State with { Standby = turn.State.Standby.RemoveAll(standby => standby.Id == said.Worker) };
    }

    private static void Lose(Turn turn, WorkerLost lost)
    {
        turn.State = turn.State with { Standby = turn.State.Standby.RemoveAll(standby => standby.Id == lost.Worker) };
        if (!turn.State.Workers.TryGetValue(lost.Worker, out var worker))
            return;
        var when = turn.State.Generation is null ? "before training began" : $"after step {turn.State.LastStep}";
        var fault = new RunFault(worker.Id, $"{Capital(worker)} was lost {when}: {lost.Reason}", ExitCode.Failure);
        switch (turn.State.Phase)
        {
            case RunPhase.Gathering or RunPhase.Proving or RunPhase.Forming:
                turn.State = turn.State with { Workers = turn.State.Workers.Remove(worker.Id) };
                Replace(turn, fault);
                break;
            case RunPhase.Stopping when worker.Stage == WorkerStage.Ready:
                MarkGone(turn, worker, fault);
                Conclude(turn);
                break;
            case RunPhase.AwaitingReady or RunPhase.Running or RunPhase.Finishing when worker.Stage < WorkerStage.Finished:
                Fail(turn, fault);
                break;
        }
    }

    private static void MarkGone(Turn turn, WorkerState worker, RunFault fault)
    {
        turn.Update(worker with { Stage = WorkerStage.Gone });
        turn.State = turn.State with { Echo = turn.State.Echo ?? fault };
    }

    private static void Fail(Turn turn, RunFault fault)
    {
        var checkpoint = turn.State.Checkpoint;
        var advice = checkpoint is not null ? $" Resume from step {checkpoint.Step} ({checkpoint.Path}) with --resume auto."
            : turn.State.Generation is not null ? " No checkpoint was taken yet; set save_steps to keep some." : "";
        End(turn, new RunFailed(turn.State.LastStep, fault.Message + advice, fault.Worker, checkpoint?.Path, fault.ExitCode), $"the run failed: {fault.Message}");
    }

    private static void End(Turn turn, RunEvent outcome, string goodbye)
    {
        var message = new FromCoordinator { Goodbye = new Goodbye { Reason = goodbye } };
        turn.TellAll(message);
        foreach (var standby in turn.State.Standby)
            turn.Tell(standby.Id, message);
        foreach (var timer in Enum.GetValues<RunTimer>())
            turn.Do(new CancelTimer(timer));
        turn.State = turn.State with { Phase = RunPhase.Ended, Outcome = outcome };
        turn.Do(new RecordDecision(new RunEnded(outcome)));
        turn.Do(new Publish(outcome));
    }

    private static string Capital(object named) => named.ToString() is { Length: > 0 } text ? char.ToUpperInvariant(text[0]) + text[1..] : "";

    private static string Seconds(TimeSpan span) => FormattableString.Invariant($"{span.TotalSeconds:0.#} s");
}
