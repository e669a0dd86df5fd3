using Sora.Model.Tokenization;
using Sora.Model.Training;
using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints;

/// <summary>What goes into a checkpoint.</summary>
public sealed record CheckpointContents
{
    /// <summary>The run's output folder; the checkpoint becomes <c>checkpoints/step-NNNNNNNN</c> in it.</summary>
    public required string OutputDir { get; init; }

    /// <summary>Steps committed.</summary>
    public required long Step { get; init; }

    /// <summary>Training tokens seen so far.</summary>
    public required long TokensSeen { get; init; }

    /// <summary>The job.</summary>
    public required TrainingJob Job { get; init; }

    /// <summary>Hash that names the corpus.</summary>
    public required string CorpusSha256 { get; init; }

    /// <summary>The tokenizer; its files go into the folder, so that the checkpoint needs nothing else to generate text.</summary>
    public required ITokenizer Tokenizer { get; init; }

    /// <summary>Gradient hash of the job's canary.</summary>
    public required string Canary { get; init; }

    /// <summary>What fixes the bits, in words: libtorch version, device class, threads.</summary>
    public required string Numerics { get; init; }

    /// <summary>The weights, under the model's names, in fp32; of a job with adapters, theirs.</summary>
    public required IReadOnlyList<NamedTensor> Weights { get; init; }

    /// <summary>The optimizer's state, under names of its own.</summary>
    public required IReadOnlyList<NamedTensor> Optimizer { get; init; }

    /// <summary>Who writes it together with this worker; of the tensors, this worker needs only those of its share.</summary>
    public SaveGroup Group { get; init; } = SaveGroup.Alone;

    /// <summary>What this worker writes of it.</summary>
    internal CheckpointShare Share
    {
        get => field ?? CheckpointShare.Of(Layout, Group);
        init;
    }

    /// <summary>The network.</summary>
    internal ModelDescription Description => ModelDescription.Of(Job, Tokenizer.VocabSize, Tokenizer.EndOfText);

    /// <summary>The files it becomes, if <see cref="Weights"/> and <see cref="Optimizer"/> are complete.</summary>
    internal CheckpointLayout Layout => CheckpointLayout.Of(Description, Weights, Optimizer, ByteSize.Parse(Job.MaxShardSize) ?? long.MaxValue);
}

/// <summary>A checkpoint on disk.</summary>
/// <param name="Path">Its folder.</param>
/// <param name="Step">Steps committed.</param>
/// <param name="WeightsSha256">Identity of its weights.</param>
public sealed record CheckpointInfo(string Path, long Step, string WeightsSha256);
