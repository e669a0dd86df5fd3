using Sora.Model.Training;
using Sora.Protocol.Api;

namespace Sora.Worker.Session;

/// <summary>Reports of the work. What the state machine says is written by <see cref="Protocol.Generations.WorkerMessages"/>.</summary>
internal static class Messages
{
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

    public static FromWorker NoCheckpoint(string run, long generation, long step, string error) => new()
    {
        Checkpoint = new CheckpointReport { Run = run, Generation = (ulong)generation, Step = (ulong)step, Error = error },
    };

    /// <summary>The same report, told in another generation. A copy: the first may still be on its way.</summary>
    public static FromWorker Again(FromWorker report, long generation)
    {
        var copy = report.Clone();
        switch (copy.BodyCase)
        {
            case FromWorker.BodyOneofCase.Step: copy.Step.Generation = (ulong)generation; break;
            case FromWorker.BodyOneofCase.Evaluation: copy.Evaluation.Generation = (ulong)generation; break;
            case FromWorker.BodyOneofCase.Checkpoint: copy.Checkpoint.Generation = (ulong)generation; break;
            default: throw new ArgumentException($"A {copy.BodyCase} is no report.", nameof(report));
        }
        return copy;
    }
}
