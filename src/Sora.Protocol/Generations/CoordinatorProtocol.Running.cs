using Sora.Protocol.Api;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Generations;

// Reports of computing workers. Every member knows the same totals; whichever report of a step comes first is shown.
public static partial class CoordinatorProtocol
{
    private static void ReconsiderRunning(Turn turn)
    {
        var members = turn.Workers.Where(worker => worker.InGeneration).ToList();
        if (members.Count > 0 && members.TrueForAll(worker => worker.Stage == WorkerStage.Finished))
        {
            Conclude(turn);
            return;
        }
        if (turn.State.Phase == RunPhase.Joining)
        {
            if (turn.State.StopReason.Length > 0)
                Change(turn, gracefully: false, turn.State.StopReason);
            else if (members.Count < turn.State.Generation!.Members.Length)
                Change(turn, gracefully: false, "a member has left");
            else if (members.TrueForAll(worker => worker.Stage != WorkerStage.Joining))
                BeginRunning(turn);
            return;
        }
        if (members.Count < turn.State.Generation!.Members.Length)
            Change(turn, gracefully: false, "a member has left");
        else if (turn.State.Healing)
            Change(turn, gracefully: false, "the replicas differ");
        else if (turn.State.StopReason.Length > 0)
            Change(turn, gracefully: true, turn.State.StopReason);
        else if (members.Exists(worker => worker is { Draining: true, Linked: true }))
            Change(turn, gracefully: true, "a member leaves");
        else if (members.Count < Wanted(turn) && Able(turn).Any())
            Change(turn, gracefully: true, "a worker joins");
        else if (Uneven(turn))
            Change(turn, gracefully: true, "lanes move away from a slow worker");
        else
            FillPlaces(turn);
    }

    private static void BeginRunning(Turn turn)
    {
        turn.State = turn.State with { Phase = RunPhase.Running };
        if (!turn.Workers.Any(worker => worker.Stage == WorkerStage.Assigned))
            turn.Do(new CancelTimer(RunTimer.Readiness));
    }

    private static void HearBeat(Turn turn, WorkerState worker, Heartbeat beat)
    {
        var current = turn.State.Generation is { } generation && (long)beat.Generation == generation.Number;
        if (worker.WaitsFor.Length > 0 || beat.WaitsFor.Count > 0)
            turn.Update(worker = worker with { WaitsFor = current ? [.. beat.WaitsFor] : [] });
        HearPace(turn, worker, beat);
    }

    /// <summary>
    /// A silence alone may be a busy machine, and a long wait a long step. Both together are a process that is stopped or cut
    /// off: the others need not stand still until its stream is given up.
    /// </summary>
    private static void HearSilence(Turn turn, string silent)
    {
        if (turn.State.Phase != RunPhase.Running || !turn.State.Workers.TryGetValue(silent, out var worker) || !worker.InGeneration)
            return;
        if (!turn.Workers.Any(peer => peer.Id != silent && peer is { Linked: true, InGeneration: true } && peer.WaitsFor.Contains(silent, StringComparer.Ordinal)))
            return;
        PutOut(turn, worker, "nothing is heard from it, and the others wait for it.");
        turn.Do(new DropWorker(silent));
    }

    private static void HearStep(Turn turn, StepReport report)
    {
        var step = (long)report.Step;
        if (!Concerns(turn.State, report.Run, report.Generation) || step <= turn.State.LastReport)
            return;
        turn.State = turn.State with { LastReport = step, LastStep = Math.Max(turn.State.LastStep, step), LastLoss = report.Loss, Failures = 0, Accusers = CoordinatorState.NoAccusers };
        ResolveDoubt(turn);
        var tokensPerSecond = report.StepSeconds > 0 ? report.Tokens / report.StepSeconds : 0;
        turn.Do(new Publish(new StepCommitted(
            step, report.Loss, report.GradNorm, report.LearningRate, tokensPerSecond, turn.State.Generation!.Members.Length,
            (long)report.Tokens, report.ComputeSeconds, report.ExchangeSeconds, report.DataSeconds)));
    }

    private static void HearEvaluation(Turn turn, EvaluationReport report)
    {
        var step = (long)report.Step;
        if (!Concerns(turn.State, report.Run, report.Generation) || step <= turn.State.LastEvaluation)
            return;
        turn.State = turn.State with { LastEvaluation = step, EvalLoss = report.Loss };
        turn.Do(new Publish(new Evaluated(step, report.Loss, Math.Exp(report.Loss), report.BitsPerByte, (long)report.Tokens)));
    }

    private static void HearCheckpoint(Turn turn, WorkerState worker, CheckpointReport report)
    {
        // One that was begun while it still computed may come late, and is not the one that was ordered.
        var ordered = turn.State.Phase == RunPhase.Saving && turn.State.Saver == worker.Id && (long)report.Step == worker.HeldStep;
        if (report.Run != turn.Spec.Run)
            return;
        if (report.Error.Length > 0)
        {
            turn.Do(new Publish(new RunWarning($"No checkpoint of step {report.Step}: {report.Error}")));
        }
        else if ((long)report.Step > (turn.State.Checkpoint?.Step ?? -1))
        {
            // A complete checkpoint is one whoever wrote it in whichever generation: its bytes are the same.
            turn.State = turn.State with { Checkpoint = new CheckpointMark((long)report.Step, report.Path) };
            turn.Do(new RecordDecision(new CheckpointTaken((long)report.Step, report.Path, report.WeightsSha256)));
            turn.Do(new Publish(new CheckpointSaved((long)report.Step, report.Path, report.WeightsSha256, report.Seconds)));
        }
        if (ordered)
            EndSaving(turn);
    }
}
