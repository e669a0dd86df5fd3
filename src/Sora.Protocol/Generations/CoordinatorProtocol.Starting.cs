using System.Collections.Immutable;
using Sora.Protocol.Api;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Generations;

// From the submission to the first step: gather, prove, form, await ready.
public static partial class CoordinatorProtocol
{
    private static void Submit(Turn turn, RunSpec spec)
    {
        // A finished run is not computed again; one that stopped, failed or was cut off by a restart may be resumed under its id.
        var resumable = turn.State.Phase == RunPhase.Idle || (turn.State.Phase == RunPhase.Ended && turn.State.Outcome is not RunFinished);
        if (!resumable)
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
        LastReport = spec.FirstStep - 1,
        Checkpoint = spec.ResumeFrom.Length > 0 ? new CheckpointMark(spec.FirstStep, spec.ResumeFrom) : null,
    };

    private static void Arrive(Turn turn, Hello hello)
    {
        var state = turn.State;
        if (state.Workers.ContainsKey(hello.Worker) || state.Standby.Any(standby => standby.Id == hello.Worker))
            return;
        var worker = new WorkerState(hello.Worker, hello.Host, (int)hello.ProcessId, hello.Device, hello.Numerics);
        if (state.Phase == RunPhase.Gathering)
            Assign(turn, worker);
        else
            turn.State = state with { Standby = state.Standby.Add(worker) };
    }

    private static void Assign(Turn turn, WorkerState worker)
    {
        var spec = turn.Spec;
        turn.Update(worker with { Stage = WorkerStage.Assigned });
        turn.Tell(worker.Id, new FromCoordinator
        {
            Assignment = new Assignment
            {
                Run = spec.Run,
                JobJson = spec.JobJson,
                CorpusHash = spec.CorpusHash,
                CorpusDir = spec.CorpusDir,
                ResumeFrom = spec.ResumeFrom,
                FirstStep = (ulong)spec.FirstStep,
                OutputDir = spec.OutputDir,
            },
        });
        if (turn.State.Workers.Count < spec.Workers)
            return;
        turn.State = turn.State with { Phase = RunPhase.Proving };
        turn.Do(new CancelTimer(RunTimer.Arrival));
        turn.Do(new SetTimer(RunTimer.Readiness));
    }

    private static void HearCanary(Turn turn, WorkerState worker, CanaryResult canary)
    {
        if (canary.Run != turn.Spec.Run || worker.Stage != WorkerStage.Assigned)
            return;
        turn.Update(worker with { Stage = WorkerStage.Proven, Canary = canary.Sha256, Endpoints = [.. canary.Endpoints] });
        Judge(turn);
    }

    /// <summary>Compares the canaries once all are here, so that who came first does not matter.</summary>
    private static void Judge(Turn turn)
    {
        var state = turn.State;
        if (state.Phase != RunPhase.Proving || state.Workers.Values.Any(worker => worker.Stage == WorkerStage.Assigned))
            return;
        var reference = state.Reference ?? CanaryRule.Choose(turn.Spec, [.. state.Workers.Values]);
        turn.State = state with { Reference = reference };

        RunFault? refusal = null;
        foreach (var worker in state.Workers.Values.Where(worker => worker.Stage == WorkerStage.Proven))
        {
            var differs = worker.Canary != reference.Sha256;
            if (differs && turn.Spec.Numerics == NumericsPolicy.Strict)
            {
                var fault = Refuse(turn, worker, reference);
                refusal ??= fault;
            }
            else
            {
                Admit(turn, worker, reference, differs);
            }
        }
        if (refusal is not null)
            Replace(turn, refusal);
        else
            Agree(turn);
    }

    private static RunFault Refuse(Turn turn, WorkerState worker, CanaryReference reference)
    {
        var reason = $"{CanaryRule.Difference(worker, reference)} {CanaryRule.HowToMendRefusal}";
        turn.State = turn.State with { Workers = turn.State.Workers.Remove(worker.Id) };
        turn.Tell(worker.Id, new FromCoordinator { Refused = new Refused { Reason = reason, ExitCode = ExitCode.Failure } });
        turn.Do(new Publish(new WorkerRefused(worker.Id, worker.Host, worker.ProcessId, reason)));
        return new RunFault(worker.Id, $"Refused: {reason}", ExitCode.Failure);
    }

    private static void Admit(Turn turn, WorkerState worker, CanaryReference reference, bool differs)
    {
        turn.Update(worker with { Stage = WorkerStage.Admitted });
        turn.Do(new Publish(new WorkerJoined(worker.Id, worker.Host, worker.ProcessId, worker.Device, worker.Canary, differs)));
        if (!differs)
            return;
        turn.State = turn.State with { NumericsDiffer = true };
        turn.Do(new Publish(new RunWarning($"{CanaryRule.Difference(worker, reference)} It was let in because of 'numerics: warn'; the result cannot be reproduced bit for bit.")));
    }

    /// <summary>A place became free before training began: a standby takes it, or the run fails for the reason the place became free.</summary>
    private static void Replace(Turn turn, RunFault fault)
    {
        turn.State = turn.State with { Phase = RunPhase.Gathering };
        while (turn.State.Workers.Count < turn.Spec.Workers && turn.State.Standby is [var next, .. var others])
        {
            turn.State = turn.State with { Standby = others };
            Assign(turn, next);
        }
        if (turn.State.Phase == RunPhase.Gathering)
            Fail(turn, fault);
    }

    private static void Agree(Turn turn)
    {
        turn.State = turn.State with { Phase = RunPhase.Forming };
        turn.Do(new DrawSecret(turn.State.LastGeneration + 1));
    }

    private static void Form(Turn turn, SecretDrawn drawn)
    {
        var state = turn.State;
        if (state.Phase != RunPhase.Forming || drawn.Generation != state.LastGeneration + 1)
            return;
        var members = state.Workers.Keys
            .Select((id, rank) => new GenerationMember(id, LaneRange.OfWorker(rank, state.Workers.Count, turn.Spec.Lanes)))
            .ToImmutableArray();
        var plan = new GenerationPlan(drawn.Generation, members, turn.Spec.FirstStep);
        turn.State = state with { Phase = RunPhase.AwaitingReady, Generation = plan, LastGeneration = plan.Number };
        turn.Do(new RecordDecision(new GenerationDecided(plan, state.NumericsDiffer)));
        turn.Do(new Publish(new GenerationFormed(plan.Number, [.. state.Workers.Keys], plan.FirstStep)));

        var message = new Generation { Run = turn.Spec.Run, Generation_ = (ulong)plan.Number, FirstStep = (ulong)plan.FirstStep, Secret = drawn.Secret };
        foreach (var member in members)
        {
            message.Members.Add(new Member
            {
                Worker = member.Worker,
                FirstLane = (uint)member.Lanes.First,
                LaneCount = (uint)member.Lanes.Count,
                Endpoints = { state.Workers[member.Worker].Endpoints },
            });
        }
        turn.TellAll(new FromCoordinator { Generation = message });
    }

    private static void HearReady(Turn turn, WorkerState worker, Ready ready)
    {
        if (turn.State.Phase != RunPhase.AwaitingReady || !Concerns(turn.State, ready.Run, ready.Generation))
            return;
        if ((long)ready.Step != turn.State.Generation!.FirstStep)
        {
            Fail(turn, new RunFault(worker.Id, $"{Capital(worker)} holds the state of step {ready.Step}, but the generation starts at step {turn.State.Generation.FirstStep}. Its checkpoint folder is not the one the run was started from.", ExitCode.InvalidInput));
            return;
        }
        turn.Update(worker with { Stage = WorkerStage.Ready });
        if (turn.State.Workers.Values.Any(member => member.Stage != WorkerStage.Ready))
            return;
        turn.State = turn.State with { Phase = RunPhase.Running };
        turn.Do(new CancelTimer(RunTimer.Readiness));
        turn.TellAll(new FromCoordinator { Start = new Start { Run = turn.Spec.Run, Generation = ready.Generation } });
    }

    private static void ArrivalMissed(Turn turn, TimeSpan after)
    {
        if (turn.State.Phase != RunPhase.Gathering)
            return;
        var came = turn.State.Workers.Count == 0 ? "none" : string.Join(", ", turn.State.Workers.Keys);
        Fail(turn, new RunFault(null, $"Only {turn.State.Workers.Count} of {turn.Spec.Workers} workers came within {Seconds(after)} (here: {came}). See the missing workers' logs, check that they can reach the coordinator, or ask for fewer with --workers.", ExitCode.Failure));
    }

    private static void ReadinessMissed(Turn turn, TimeSpan after)
    {
        var (awaited, what) = turn.State.Phase switch
        {
            RunPhase.Proving => (WorkerStage.Assigned, "deliver a canary"),
            RunPhase.AwaitingReady => (WorkerStage.Admitted, "become ready"),
            _ => (WorkerStage.Gone, ""),
        };
        var late = turn.State.Workers.Values.Where(worker => worker.Stage == awaited).ToList();
        if (what.Length == 0 || late.Count == 0)
            return;
        Fail(turn, new RunFault(late[0].Id, $"{Capital(string.Join(", ", late))} did not {what} within {Seconds(after)}. See its log; a slow disk or a blocked port between the workers are the usual reasons.", ExitCode.Failure));
    }
}
