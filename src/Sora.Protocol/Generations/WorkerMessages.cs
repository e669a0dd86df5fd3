using Sora.Protocol.Api;
using Sora.Protocol.Exchange;

namespace Sora.Protocol.Generations;

/// <summary>Between what travels on the stream and what the worker's state machine speaks of.</summary>
public static class WorkerMessages
{
    /// <summary>What a message of the coordinator means; null: nothing to this version.</summary>
    public static WorkerEvent? Read(FromCoordinator message) => message.BodyCase switch
    {
        FromCoordinator.BodyOneofCase.Assignment => new WorkerEvent.Assigned(Read(message.Assignment)),
        FromCoordinator.BodyOneofCase.Refused => new WorkerEvent.Refused(message.Refused.Reason, (int)message.Refused.ExitCode),
        FromCoordinator.BodyOneofCase.Generation => new WorkerEvent.GenerationFormed(Read(message.Generation)),
        FromCoordinator.BodyOneofCase.Halt => new WorkerEvent.HaltOrdered(message.Halt.Run, (long)message.Halt.Generation, message.Halt.Gracefully, message.Halt.Reason),
        FromCoordinator.BodyOneofCase.Save => new WorkerEvent.SaveOrdered(message.Save.Run, (long)message.Save.Step),
        FromCoordinator.BodyOneofCase.Goodbye => new WorkerEvent.Dismissed(message.Goodbye.Reason, (int)message.Goodbye.ExitCode),
        _ => null,
    };

    /// <summary>The message an effect sends; null when the effect sends nothing.</summary>
    /// <param name="effect">The effect.</param>
    /// <param name="introduction">The parts of Hello that the state machine does not know: machine, process, version.</param>
    /// <param name="endpoints">Where peers can dial this worker, best first.</param>
    public static FromWorker? Write(WorkerEffect effect, Hello introduction, IReadOnlyList<string> endpoints) => effect switch
    {
        WorkerEffect.SendHello hello => new FromWorker { Hello = Introduce(introduction, hello.Standing, endpoints) },
        WorkerEffect.SendCanary canary => new FromWorker
        {
            Canary = new CanaryResult { Run = canary.Run, Sha256 = canary.Canary, Parameters = (ulong)canary.Parameters, Endpoints = { endpoints } },
        },
        WorkerEffect.SendReady ready => new FromWorker { Ready = new Ready { Run = ready.Run, Generation = (ulong)ready.Generation, Step = (ulong)ready.Step } },
        WorkerEffect.SendHalted halted => new FromWorker
        {
            Halted = new Halted
            {
                Run = halted.Run,
                Generation = (ulong)halted.Generation,
                Step = halted.Step,
                Reason = halted.Reason,
                Suspects = { halted.Suspects },
                NotFinite = halted.NotFinite is not null,
                Lanes = { (halted.NotFinite ?? []).Select(lane => (uint)lane) },
            },
        },
        WorkerEffect.SendDraining draining => new FromWorker { Draining = new Draining { Reason = draining.Reason } },
        WorkerEffect.SendFinished finished => new FromWorker
        {
            Finished = new Finished { Run = finished.Run, Generation = (ulong)finished.Generation, Step = (ulong)finished.Step, WeightsSha256 = finished.WeightsSha256 },
        },
        WorkerEffect.SendFailed failed => new FromWorker
        {
            Failed = new Failed
            {
                Run = failed.Run,
                Generation = (ulong)failed.Generation,
                Step = (ulong)Math.Max(0, failed.Step),
                Message = failed.Message,
                Detail = failed.Detail,
                ExitCode = (uint)failed.ExitCode,
                CannotSave = failed.CannotSave,
            },
        },
        _ => null,
    };

    private static Hello Introduce(Hello introduction, WorkerStanding standing, IReadOnlyList<string> endpoints)
    {
        var hello = introduction.Clone();
        if (standing.Run.Length > 0)
        {
            hello.Standing = new Standing
            {
                Run = standing.Run,
                Generation = (ulong)standing.Generation,
                Step = standing.Step,
                Canary = standing.Canary,
                Parameters = (ulong)standing.Parameters,
                Endpoints = { endpoints },
                InGeneration = standing.InGeneration,
                Draining = standing.Draining,
            };
        }
        return hello;
    }

    private static WorkerAssignment Read(Assignment assignment) =>
        new(assignment.Run, assignment.JobJson, assignment.CorpusHash, assignment.CorpusDir, assignment.OutputDir);

    private static WorkerGeneration Read(Generation generation) => new(
        generation.Run,
        (long)generation.Generation_,
        [.. generation.Members.Select(member => new ExchangeMember(member.Worker, new LaneRange((int)member.FirstLane, (int)member.LaneCount), [.. member.Endpoints]))],
        (long)generation.FirstStep,
        generation.Secret.ToByteArray())
    {
        Holders = [.. generation.Holders.Select(rank => (int)rank)],
        RestoreFrom = generation.RestoreFrom,
        ReportedStep = generation.ReportedStep,
        EvaluatedStep = generation.EvaluatedStep,
        SavedStep = generation.SavedStep,
    };
}
