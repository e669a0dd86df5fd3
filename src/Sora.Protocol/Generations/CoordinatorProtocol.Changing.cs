using Sora.Protocol.Api;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Generations;

// A change of membership, planned or not: everybody to a step boundary first.
public static partial class CoordinatorProtocol
{
    // So many failed workers without a single step in between, and it is the run's fault rather than theirs.
    private const int FailuresBeforeGivingUp = 3;

    private static void Change(Turn turn, bool gracefully, string reason)
    {
        turn.State = turn.State with { Phase = RunPhase.Halting, HaltAtOnce = !gracefully };
        foreach (var worker in turn.Workers.Where(worker => worker.InGeneration))
            TellHalt(turn, worker, turn.State.Generation!.Number, reason);
        // A step takes as long as it takes; only who was told to stop at once can be late.
        if (!gracefully)
            turn.Do(new SetTimer(RunTimer.Halt));
    }

    private static void TellHalt(Turn turn, WorkerState worker, long generation, string reason) =>
        turn.Tell(worker.Id, HaltMessage(turn, generation, !turn.State.HaltAtOnce, reason));

    private static FromCoordinator HaltMessage(Turn turn, long generation, bool gracefully, string reason) =>
        new() { Halt = new Halt { Run = turn.Spec.Run, Generation = (ulong)generation, Gracefully = gracefully, Reason = reason } };

    private static void ReconsiderHalting(Turn turn)
    {
        // At once: nobody waits for a worker whose stream is gone, unless it takes the run's newest state along.
        if (turn.State.HaltAtOnce && !WorthWaiting(turn))
        {
            foreach (var gone in turn.Workers.Where(worker => worker is { Linked: false, Stage: WorkerStage.Stray } || (worker.InGeneration && !worker.Linked)).ToList())
                PutOut(turn, gone, gone.LostReason);
        }
        var members = turn.Workers.Where(worker => worker.InGeneration || worker.Stage == WorkerStage.Stray).ToList();
        if (members.Count > 0)
        {
            if (!members.TrueForAll(worker => worker.Stage == WorkerStage.Finished))
                return;
            // All the work has been done meanwhile. Who has finished does not halt after another step.
            if (WorkIsDone(turn))
                Conclude(turn);
            else if (!turn.State.HaltAtOnce)
                Change(turn, gracefully: false, "the last checkpoint is missing");
            return;
        }
        turn.Do(new CancelTimer(RunTimer.Halt));
        turn.State = turn.State with { Phase = RunPhase.Gathering };
        // One that ended with a step in doubt says nothing about who can work with whom.
        if (!JudgeDoubt(turn))
            LearnFromGeneration(turn);
    }

    private static void HearHalted(Turn turn, WorkerState worker, Halted halted)
    {
        if (halted.Run != turn.Spec.Run)
            return;
        var inForce = worker.InGeneration && Concerns(turn.State, halted.Run, halted.Generation);
        if (!inForce && worker.Stage != WorkerStage.Stray)
            return;
        turn.Update(worker with { Stage = WorkerStage.Waiting, HeldStep = halted.Step });
        if (!inForce)
            return;
        turn.State = turn.State with { LastStep = Math.Max(turn.State.LastStep, halted.Step) };
        ResolveDoubt(turn);
        Accuse(turn, worker, halted.Suspects);
        if (halted.NotFinite)
            HearNotFinite(turn, worker, halted);
        if (halted.Reason.Length > 0 && (turn.State.Phase != RunPhase.Halting || !turn.State.HaltAtOnce) && turn.State.Phase != RunPhase.Recovering)
            Change(turn, gracefully: false, halted.Reason);
    }

    private static void Lose(Turn turn, WorkerLost lost)
    {
        turn.State = turn.State with { Standby = turn.State.Standby.RemoveAll(standby => standby.Id == lost.Worker) };
        if (!turn.State.Workers.TryGetValue(lost.Worker, out var worker))
            return;
        switch (worker.Stage)
        {
            case WorkerStage.Assigned or WorkerStage.Proven when turn.State.LastGeneration > 0:
            case WorkerStage.Waiting when turn.State.LastGeneration > 0 && worker.HeldStep < 0:
            case WorkerStage.Joining:
                PutOut(turn, worker, lost.Reason);
                break;
            default:
                // The process may be well and dial again; its peers know better than the coordinator whether it computes.
                turn.Update(worker with { Linked = false, LostReason = lost.Reason });
                turn.Do(new SetTimer(RunTimer.Absence));
                if (turn.State.Phase == RunPhase.Saving && turn.State.Saver == worker.Id)
                    turn.State = turn.State with { Saver = "" };
                break;
        }
    }

    private static void AbsenceMissed(Turn turn)
    {
        foreach (var worker in turn.Workers.Where(worker => !worker.Linked).ToList())
        {
            PutOut(turn, worker, $"{worker.LostReason.TrimEnd('.')}, and it did not come back.");
            FillPlaces(turn);
            // Whoever started it may start another: it gets the time the first one had.
            if (turn.State is { Phase: RunPhase.Gathering, LastGeneration: 0 })
                turn.Do(new SetTimer(RunTimer.Arrival));
        }
    }

    /// <summary>
    /// Nobody here holds more than the last checkpoint does, and a worker whose stream broke may: it gets the time it takes
    /// to dial again before the run goes back.
    /// </summary>
    private static bool WorthWaiting(Turn turn)
    {
        var saved = SavedStep(turn);
        return turn.State.LastStep > saved && HighestHeld(turn) <= saved
            && turn.Workers.Any(worker => !worker.Linked && (worker.InGeneration || worker.Stage == WorkerStage.Stray || worker.HeldStep > saved));
    }

    private static void HaltMissed(Turn turn, TimeSpan after)
    {
        if (turn.State.Phase != RunPhase.Halting)
            return;
        var worthWaiting = WorthWaiting(turn);
        foreach (var worker in turn.Workers.Where(worker => (worker.InGeneration || worker.Stage == WorkerStage.Stray) && (worker.Linked || !worthWaiting)).ToList())
        {
            PutOut(turn, worker, $"it did not halt within {Seconds(after)}.");
            turn.Do(new DropWorker(worker.Id));
        }
    }

    private static void PutOut(Turn turn, WorkerState worker, string reason)
    {
        turn.Forget(worker);
        if (worker.Corruptions > 0 || worker.Distrusted)
            turn.State = turn.State with { Blemishes = turn.State.Blemishes.SetItem(worker.Process, new Blemish(worker.Corruptions, worker.Distrusted)) };
        turn.Do(new Publish(new WorkerLeft(worker.Id, reason)));
    }

    private static void HearFailed(Turn turn, WorkerState worker, Failed failed)
    {
        // A worker may fail before it knows its run or generation.
        var concerns = (failed.Run.Length == 0 || failed.Run == turn.Spec.Run)
            && (failed.Generation == 0 || !worker.InGeneration || (long)failed.Generation == turn.State.Generation?.Number);
        if (!concerns)
            return;
        var fault = new RunFault(worker.Id, $"{Capital(worker)} failed after step {turn.State.LastStep}: {failed.Message}", failed.ExitCode == 0 ? ExitCode.Failure : (int)failed.ExitCode);
        turn.State = turn.State with { Failures = turn.State.Failures + 1 };
        // What is wrong with the job, the data or the loss is wrong on every worker.
        var everywhere = fault.ExitCode is ExitCode.Diverged or ExitCode.InvalidInput or ExitCode.Usage;
        // All is computed and nobody else holds the result: to compute it again would only meet the same full disk.
        var lost = failed.CannotSave && turn.Workers.All(other => other.Id == worker.Id || (!other.InGeneration && other.HeldStep < turn.State.LastStep));
        if (everywhere || lost || turn.State.Failures >= FailuresBeforeGivingUp)
        {
            Fail(turn, fault);
            return;
        }
        PutOut(turn, worker, failed.Message);
        GiveUpStart(turn, fault);
    }

    private static void HearOther(Turn turn, WorkerSaid said)
    {
        if (turn.State.Standby.All(standby => standby.Id != said.Worker))
            turn.Do(new DropWorker(said.Worker));
        else if (said.Message.BodyCase == FromWorker.BodyOneofCase.Failed)
            turn.State = turn.State with { Standby = turn.State.Standby.RemoveAll(standby => standby.Id == said.Worker) };
    }

    private static void Recover(Turn turn)
    {
        if (turn.State.Phase != RunPhase.Recovering)
            return;
        turn.Do(new RecordDecision(new RunTakenUp()));
        turn.Do(new Publish(new RunWarning($"a coordinator takes up run {turn.Spec.Run} from its journal: generation {turn.State.LastGeneration}")));
        turn.Do(new SetTimer(turn.State.Generation is null ? RunTimer.Arrival : RunTimer.Return));
        if (turn.State.Generation is null)
            turn.State = turn.State with { Phase = RunPhase.Gathering };
    }

    /// <summary>Once every member of the last generation is back: it goes on if all of them compute in it, and is replaced otherwise.</summary>
    private static void ReconsiderRecovery(Turn turn)
    {
        if (turn.State.Generation!.Members.All(member => turn.State.Workers.TryGetValue(member.Worker, out var worker) && worker.Linked))
            EndRecovery(turn);
    }

    private static void ReturnMissed(Turn turn)
    {
        if (turn.State.Phase == RunPhase.Recovering)
            EndRecovery(turn);
    }

    private static void EndRecovery(Turn turn)
    {
        turn.Do(new CancelTimer(RunTimer.Return));
        var complete = turn.State.Generation!.Members.All(member => turn.State.Workers.TryGetValue(member.Worker, out var worker) && worker.InGeneration);
        if (complete)
            turn.State = turn.State with { Phase = RunPhase.Running };
        else
            Change(turn, gracefully: false, "the coordinator was restarted and the generation is not whole");
    }
}
