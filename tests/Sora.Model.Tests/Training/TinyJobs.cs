using Sora.Model.Training;
using Sora.Protocol.Jobs;
using TorchSharp;

namespace Sora.Model.Tests.Training;

/// <summary>Tiny jobs.</summary>
internal static class TinyJobs
{
    public const int VocabSize = 31;

    public static TrainingJob Decoder { get; } = new()
    {
        Seed = 7,
        ContextLength = 12,
        Lanes = 4,
        MicroBatchSize = 2,
        MicroBatchesPerLane = 2,
        MaxSteps = 6,
        LearningRate = 1e-2,
        WarmupSteps = 2,
        Device = "cpu",
        Model = new ModelSettings { HiddenSize = 16, NumHiddenLayers = 2, NumAttentionHeads = 4, NumKeyValueHeads = 2, Dropout = 0.1, Bias = true },
    };

    public static TrainingJob Lstm { get; } = Decoder with
    {
        Model = new ModelSettings { Type = ModelKind.Lstm, HiddenSize = 12, EmbeddingSize = 10, NumHiddenLayers = 2, Dropout = 0.1 },
    };

    public static SyntheticData Data(TrainingJob job) => new(VocabSize, job.MicroBatchSize, job.ContextLength);

    public static Trainer Trainer(TrainingJob job) => new(job, VocabSize, torch.CPU);
}
