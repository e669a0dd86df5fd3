using System.Collections.Immutable;
using Sora.Protocol.Api;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Generations;

// Submission, workers that come for the first time or again, and the proof that they compute the same bits.
public static partial class CoordinatorProtocol
{
    private static void Submit(Turn turn, RunSpec spec)
    {
        // A finished run is not computed again; one that stopped or failed may be resumed under its id.
        var acceptable = turn.State.Phase == RunPhase.Idle || (turn.State.Phase == RunPhase.Ended && turn.State.Outcome is not RunFinished);
        if (!acceptable)
            return;
        turn.State = Accepted(turn.State, spec) with { Phase = RunPhase.Gathering };
        turn.Do(new RecordDecision(new SubmissionAccepted(spec)));
        turn.Do(new Publish(new RunStarted(spec.Run, spec.Name, spec.FirstStep, spec.MaxSteps, spec.Workers, spec.Lanes, spec.Parameters, spec.TokensPerStep, spec.Device, spec.Dtype)));
        turn.Do(new SetTimer(RunTimer.Arrival));
    }

    private static CoordinatorState Accepted(CoordinatorState before, RunSpec spec) => new()
    {
        Spec = spec,
        LastGeneration = before.LastGeneration,
        LastStep = spec.FirstStep,
        LastReport = spec.FirstStep,
        LastEvaluation = spec.ResumeFrom.Length > 0 ? spec.FirstStep : -1,
        Checkpoint = spec.ResumeFrom.Length > 0 ? new CheckpointMark(spec.FirstStep, spec.ResumeFrom) : null,
    };

    private static void Arrive(Turn turn, Hello hello)
    {
        var run = hello.Standing?.Run ?? "";
        if (run.Length > 0 && run != turn.Spec.Run)
        {
            turn.Tell(hello.Worker, Farewell(run, outcome: null));
            return;
        }
        if (turn.State.Barred.TryGetValue(new WorkerProcess(hello.Worker, hello.Incarnation), out var reason))
        {
            turn.Tell(hello.Worker, Goodbye(reason, ExitCode.Failure));
            return;
        }
        if (turn.State.Workers.TryGetValue(hello.Worker, out var known) && known.Incarnation != hello.Incarnation)
        {
            PutOut(turn, known, "it was started again.");
            known = null;
        }
        turn.State = turn.State with { Standby = turn.State.Standby.RemoveAll(standby => standby.Id == hello.Worker) };
        if (known is not null)
            Return(turn, known, hello);
        else if (run.Length > 0)
            TakeBack(turn, hello);
        else if (turn.Workers.Count(worker => !worker.Draining) < Wanted(turn))
            Assign(turn, New(hello));
        else
            turn.State = turn.State with { Standby = turn.State.Standby.Add(New(hello)) };
    }

    private static WorkerState New(Hello hello) => new(hello.Worker, hello.Incarnation, hello.Host, (int)hello.ProcessId, hello.Device, hello.Numerics);

    /// <summary>The most workers that can take part.</summary>
    private static int Wanted(Turn turn) => Math.Min(turn.Spec.Workers, turn.Spec.Lanes);

    private static void Assign(Turn turn, WorkerState worker)
    {
        var spec = turn.Spec;
        turn.Update(worker with { Stage = WorkerStage.Assigned });
        turn.Tell(worker.Id, new FromCoordinator
        {
            Assignment = new Assignment { Run = spec.Run, JobJson = spec.JobJson, CorpusHash = spec.CorpusHash, CorpusDir = spec.CorpusDir, OutputDir = spec.OutputDir },
        });
        turn.Do(new SetTimer(RunTimer.Readiness));
    }

    /// <summary>Those who wait in reserve take the places that are free.</summary>
    private static void FillPlaces(Turn turn)
    {
        while (turn.State.Standby is [var next, .. var others] && turn.Workers.Count(worker => !worker.Draining) < Wanted(turn))
        {
            turn.State = turn.State with { Standby = others };
            Assign(turn, next);
        }
    }

    /// <summary>A worker of the run dialled again: its stream broke, or it lost what was on the way to it.</summary>
    private static void Return(Turn turn, WorkerState worker, Hello hello)
    {
        var standing = hello.Standing ?? new Standing();
        worker = worker with { Linked = true, Draining = worker.Draining || standing.Draining };
        turn.Update(worker);
        var inForce = turn.State.Generation is { } current && (long)standing.Generation == current.Number;
        switch (worker.Stage)
        {
            case WorkerStage.Assigned when standing.Run.Length == 0:
                Assign(turn, worker);
                break;
            case WorkerStage.Joining or WorkerStage.Training or WorkerStage.Finished when inForce:
                if (turn.State.Phase == RunPhase.Halting)
                    TellHalt(turn, worker, (long)standing.Generation, "the membership changes");
                break;
            case WorkerStage.Waiting or WorkerStage.Stray or WorkerStage.Joining or WorkerStage.Training or WorkerStage.Finished:
                // It never heard of the generation in force, or is already at a boundary.
                Stand(turn, worker with { HeldStep = standing.Step }, standing);
                break;
        }
        if (turn.State.Phase == RunPhase.Saving && turn.State.Saver == worker.Id)
            TellSave(turn, worker);
    }

    /// <summary>A worker of the run that this coordinator does not know, or had put out.</summary>
    private static void TakeBack(Turn turn, Hello hello)
    {
        var standing = hello.Standing;
        var worker = New(hello) with { Draining = standing.Draining, Canary = standing.Canary, HeldStep = standing.Step, Endpoints = [.. standing.Endpoints] };
        if (turn.State.Blemishes.TryGetValue(worker.Process, out var blemish))
            worker = worker with { Corruptions = blemish.Corruptions, Distrusted = blemish.Distrusted };
        if (worker.Canary.Length == 0)
        {
            turn.Update(worker with { Stage = WorkerStage.Assigned });
            turn.Do(new SetTimer(RunTimer.Readiness));
            return;
        }
        if (turn.State.Reference is not { } reference)
        {
            turn.Update(worker with { Stage = WorkerStage.Proven });
            return;
        }
        if (!Admit(turn, worker, reference))
            return;
        var inForce = turn.State.Generation is { } current && (long)standing.Generation == current.Number && current.Members.Any(member => member.Worker == worker.Id);
        if (standing.InGeneration && inForce && turn.State.Phase is not (RunPhase.Gathering or RunPhase.Forming or RunPhase.Saving))
        {
            worker = worker with { Stage = WorkerStage.Training };
            turn.Update(worker);
            if (turn.State.Phase == RunPhase.Halting)
                TellHalt(turn, worker, (long)standing.Generation, "the membership changes");
        }
        else
        {
            Stand(turn, worker, standing);
        }
    }

    /// <summary>A worker that is not a member of the generation in force: at a boundary, or to be brought to one.</summary>
    private static void Stand(Turn turn, WorkerState worker, Standing standing)
    {
        turn.Update(worker with { Stage = standing.InGeneration ? WorkerStage.Stray : WorkerStage.Waiting });
        if (standing.InGeneration)
            turn.Tell(worker.Id, HaltMessage(turn, (long)standing.Generation, gracefully: false, "this generation is no longer in force"));
    }

    private static void HearCanary(Turn turn, WorkerState worker, CanaryResult canary)
    {
        if (canary.Run != turn.Spec.Run || worker.Stage != WorkerStage.Assigned)
            return;
        worker = worker with { Stage = WorkerStage.Proven, Canary = canary.Sha256, Endpoints = [.. canary.Endpoints] };
        turn.Update(worker);
        if (turn.State.Reference is { } reference)
            Admit(turn, worker, reference);
    }

    /// <summary>Chooses the canary to be held to, once those who vote are all here, so that who came first does not matter.</summary>
    /// <returns>Whether a reference is known.</returns>
    private static bool Judge(Turn turn)
    {
        if (turn.State.Reference is not null)
            return true;
        var voters = turn.Workers.ToList();
        var complete = voters.Count >= Wanted(turn) || (turn.State.PatienceOver && voters.Count >= Math.Max(1, turn.Spec.StartWorkers));
        if (!complete || voters.Any(worker => worker.Stage == WorkerStage.Assigned))
            return false;
        var reference = CanaryRule.Choose(turn.Spec, voters);
        turn.State = turn.State with { Reference = reference };
        foreach (var worker in voters)
            Admit(turn, worker, reference);
        return turn.State.Phase != RunPhase.Ended;
    }

    /// <returns>Whether the worker may take part.</returns>
    private static bool Admit(Turn turn, WorkerState worker, CanaryReference reference)
    {
        var differs = worker.Canary != reference.Sha256;
        if (differs && turn.Spec.Numerics == NumericsPolicy.Strict)
        {
            Refuse(turn, worker, reference);
            return false;
        }
        turn.Update(worker with { Stage = WorkerStage.Waiting });
        turn.Do(new Publish(new WorkerJoined(worker.Id, worker.Host, worker.ProcessId, worker.Device, worker.Canary, differs)));
        if (differs)
        {
            turn.State = turn.State with { NumericsDiffer = true };
            turn.Do(new Publish(new RunWarning($"{CanaryRule.Difference(worker, reference)} It was let in because of 'numerics: warn'; the result cannot be reproduced bit for bit.")));
        }
        return true;
    }

    private static void Refuse(Turn turn, WorkerState worker, CanaryReference reference)
    {
        var reason = $"{CanaryRule.Difference(worker, reference)} {CanaryRule.HowToMendRefusal}";
        turn.Forget(worker);
        turn.Tell(worker.Id, new FromCoordinator { Refused = new Refused { Reason = reason, ExitCode = ExitCode.Failure } });
        turn.Do(new Publish(new WorkerRefused(worker.Id, worker.Host, worker.ProcessId, reason)));
        turn.State = turn.State with { PatienceOver = true, Refusal = new RunFault(worker.Id, reason, ExitCode.Failure) };
        FillPlaces(turn);
        // Anybody with the token may dial: a stray worker ends no run that others may still come for. They get the time the first ones had.
        if (TooFewToBegin(turn))
            turn.Do(new SetTimer(RunTimer.Arrival));
    }

    private static bool TooFewToBegin(Turn turn) =>
        turn.State is { Phase: RunPhase.Gathering, LastGeneration: 0 } && turn.State.Workers.Count < turn.Spec.StartWorkers;

    /// <summary>Before the first generation, a run that can no longer get its workers fails for the reason it lost one.</summary>
    private static void GiveUpStart(Turn turn, RunFault fault)
    {
        FillPlaces(turn);
        if (TooFewToBegin(turn))
            Fail(turn, fault);
    }

    private static void ArrivalMissed(Turn turn, TimeSpan after)
    {
        if (turn.State.LastGeneration > 0)
            return;
        turn.State = turn.State with { PatienceOver = true };
        if (turn.Spec.StartWorkers < turn.Spec.Workers || turn.Spec.MinWorkers > 1)
        {
            // Workers are expected to come and go: too few is no error.
            if (turn.State.Workers.Count < turn.Spec.StartWorkers && !turn.State.WaitAnnounced)
            {
                turn.State = turn.State with { WaitAnnounced = true };
                turn.Do(new Publish(new RunWaiting(turn.State.Workers.Count, turn.Spec.StartWorkers, turn.Spec.FirstStep)));
            }
            return;
        }
        var came = turn.State.Workers.Count == 0 ? "none" : string.Join(", ", turn.State.Workers.Keys);
        var missing = $"Only {turn.State.Workers.Count} of {turn.Spec.StartWorkers} workers came within {Seconds(after)} (here: {came}).";
        GiveUpStart(turn, turn.State.Refusal is { } refusal
            ? refusal with { Message = $"{missing} The last one that was refused: {refusal.Message}" }
            : new RunFault(null, $"{missing} See the missing workers' logs, check that they can reach the coordinator, or ask for fewer with --workers.", ExitCode.Failure));
    }

    private static void ReadinessMissed(Turn turn, TimeSpan after)
    {
        var joining = turn.Workers.Where(worker => worker.Stage == WorkerStage.Joining).Select(worker => worker.Id).ToList();
        // Members wait for each other, so that nobody can tell whose fault it is: all halt, and who is well says so.
        if (turn.State.Phase == RunPhase.Joining && joining.Count > 0)
            Change(turn, gracefully: false, $"{string.Join(", ", joining)} did not become ready within {Seconds(after)}");
        foreach (var worker in turn.Workers.Where(worker => worker.Stage == WorkerStage.Assigned).ToList())
        {
            var reason = $"it did not deliver a canary within {Seconds(after)}. See its log; a slow disk or a slow network to the corpus are the usual reasons.";
            turn.Tell(worker.Id, Goodbye(reason, ExitCode.Failure));
            PutOut(turn, worker, reason);
            GiveUpStart(turn, new RunFault(worker.Id, $"{Capital(worker)} was too slow: {reason}", ExitCode.Failure));
        }
    }
}
