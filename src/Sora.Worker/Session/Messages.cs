using Sora.Model.Training;
using Sora.Protocol.Api;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;

namespace Sora.Worker.Session;

/// <summary>Between what travels and what the state machine speaks of.</summary>
internal static class Messages
{
    /// <summary>What a message of the coordinator means; null: nothing to this version.</summary>
    public static WorkerEvent? Read(FromCoordinator message) => message.BodyCase switch
    {
        FromCoordinator.BodyOneofCase.Assignment => new WorkerEvent.Assigned(Read(message.Assignment)),
        FromCoordinator.BodyOneofCase.Refused => new WorkerEvent.Refused(message.Refused.Reason, (int)message.Refused.ExitCode),
        FromCoordinator.BodyOneofCase.Generation => new WorkerEvent.GenerationFormed(Read(message.Generation)),
        FromCoordinator.BodyOneofCase.Start => new WorkerEvent.Started(message.Start.Run, (long)message.Start.Generation),
        FromCoordinator.BodyOneofCase.Stop => new WorkerEvent.StopOrdered(message.Stop.Run, message.Stop.Reason, message.Stop.Checkpoint),
        FromCoordinator.BodyOneofCase.Goodbye => new WorkerEvent.Dismissed(message.Goodbye.Reason),
        _ => null,
    };

    public static FromWorker Canary(WorkerEffect.SendCanary canary, IEnumerable<string> endpoints) => new()
    {
        Canary = new CanaryResult { Run = canary.Run, Sha256 = canary.Canary, Parameters = (ulong)canary.Parameters, Endpoints = { endpoints } },
    };

    public static FromWorker Ready(WorkerEffect.SendReady ready) =>
        new() { Ready = new Ready { Run = ready.Run, Generation = (ulong)ready.Generation, Step = (ulong)ready.Step } };

    public static FromWorker Finished(WorkerEffect.SendFinished finished) => new()
    {
        Finished = new Finished { Run = finished.Run, Generation = (ulong)finished.Generation, Step = (ulong)finished.Step, WeightsSha256 = finished.WeightsSha256 },
    };

    public static FromWorker Stopped(WorkerEffect.SendStopped stopped) => new()
    {
        Stopped = new Stopped { Run = stopped.Run, Generation = (ulong)stopped.Generation, Step = (ulong)stopped.Step, Checkpoint = stopped.Checkpoint },
    };

    public static FromWorker Failed(WorkerEffect.SendFailed failed) => new()
    {
        Failed = new Failed
        {
            Run = failed.Run,
            Generation = (ulong)failed.Generation,
            Step = (ulong)failed.Step,
            Message = failed.Message,
            Detail = failed.Detail,
            ExitCode = (uint)failed.ExitCode,
            PeerLost = failed.PeerLost,
        },
    };

    public static FromWorker Step(string run, long generation, StepResult step) => new()
    {
        Step = new StepReport
        {
            Run = run,
            Generation = (ulong)generation,
            Step = (ulong)step.Step,
            Loss = step.Loss,
            GradNorm = step.GradNorm,
            LearningRate = step.LearningRate,
            Tokens = (ulong)step.Tokens,
            StepSeconds = step.StepSeconds,
            ComputeSeconds = step.ComputeSeconds,
            ExchangeSeconds = step.ExchangeSeconds,
            DataSeconds = step.DataSeconds,
        },
    };

    public static FromWorker Evaluation(string run, long generation, EvaluationResult evaluation) => new()
    {
        Evaluation = new EvaluationReport
        {
            Run = run,
            Generation = (ulong)generation,
            Step = (ulong)evaluation.Step,
            Loss = evaluation.Loss,
            BitsPerByte = evaluation.BitsPerByte,
            Tokens = (ulong)evaluation.Tokens,
        },
    };

    public static FromWorker Checkpoint(string run, long generation, long step, string path, string weightsSha256, TimeSpan duration) => new()
    {
        Checkpoint = new CheckpointReport
        {
            Run = run,
            Generation = (ulong)generation,
            Step = (ulong)step,
            Path = path,
            WeightsSha256 = weightsSha256,
            Seconds = duration.TotalSeconds,
        },
    };

    private static WorkerAssignment Read(Assignment assignment) => new(
        assignment.Run, assignment.JobJson, assignment.CorpusHash, assignment.CorpusDir, assignment.ResumeFrom, (long)assignment.FirstStep, assignment.OutputDir);

    private static WorkerGeneration Read(Generation generation) => new(
        generation.Run,
        (long)generation.Generation_,
        [.. generation.Members.Select(member => new ExchangeMember(member.Worker, new LaneRange((int)member.FirstLane, (int)member.LaneCount), [.. member.Endpoints]))],
        (long)generation.FirstStep,
        generation.Secret.ToByteArray());
}
