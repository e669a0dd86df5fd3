using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints;

/// <summary>A checkpoint and a job do not belong together.</summary>
public sealed class CheckpointMismatchException(string message) : SoraException(message, Sora.Protocol.Jobs.ExitCode.InvalidInput);

/// <summary>Whether a job can go on from a checkpoint.</summary>
internal static class CheckpointMatch
{
    // Keys of the network that change no tensor's shape or meaning.
    private static readonly string[] _harmless = ["model.dropout", "model.initializer_range", "lora.lora_dropout"];

    public static IReadOnlyList<string> Check(CheckpointReader checkpoint, TrainingJob job, int vocabSize, string corpusSha256)
    {
        var differences = JobDifference.Between(Resolved(checkpoint.Job), Resolved(job)).Where(difference => difference.Key.Effect == JobEffect.Result).ToList();
        var fatal = differences
            .Where(difference => !_harmless.Contains(difference.Key.Path) && IsOfState(difference.Key.Path))
            .Select(difference => $"{difference.Key.Path} is {difference.Before} in the checkpoint and {difference.After} in the job")
            .ToList();
        if (checkpoint.Manifest.VocabSize != vocabSize)
            fatal.Add($"the vocabulary has {checkpoint.Manifest.VocabSize} entries in the checkpoint and {vocabSize} in the job");
        if (checkpoint.Manifest.CorpusSha256 != corpusSha256)
            fatal.Add($"the corpus is {checkpoint.Manifest.CorpusSha256} in the checkpoint and {corpusSha256} in the job");
        if (fatal.Count > 0)
        {
            throw new CheckpointMismatchException(
                $"Checkpoint {checkpoint.Path} does not fit the job: {string.Join("; ", fatal)}. " +
                "Set the job back to what made the checkpoint, or choose another output folder to begin a new run.");
        }
        return
        [
            .. differences.Select(difference =>
                $"{difference.Key.Path} was {difference.Before} when the checkpoint was made and is {difference.After} now: the run goes on, but its result is not that of either job from the start."),
        ];
    }

    private static bool IsOfState(string key) =>
        key.StartsWith("model.", StringComparison.Ordinal) || key.StartsWith("lora.", StringComparison.Ordinal) || key is "optim" or "base_model_sha256";

    // Positions left to the context length count as what they come to.
    private static TrainingJob Resolved(TrainingJob job) => job.Model.PositionEmbedding == PositionKind.Learned
        ? job with { Model = job.Model with { MaxPositionEmbeddings = job.Model.MaxPositionEmbeddings ?? job.ContextLength } }
        : job;
}
