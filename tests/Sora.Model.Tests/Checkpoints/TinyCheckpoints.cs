using Sora.Model.Checkpoints;
using Sora.Model.Tokenization;
using Sora.Model.Training;
using Sora.Model.Zoo;
using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Checkpoints;

/// <summary>Contents of checkpoints of a tiny network: the same for the same step and seed, wherever they are made.</summary>
internal sealed class TinyCheckpoints(string outputDir, long seed = 1) : IDisposable
{
    private readonly LanguageModel _model = TinyModels.Random(TinyModels.Gpt2, seed);
    private readonly Tensor _moments = arange(3000).to(ScalarType.Float32);

    public static TrainingJob Job { get; } = new() { Model = TinyModels.Gpt2, ContextLength = TinyModels.Context, Tokenizer = new() { Type = TokenizerKind.Byte } };

    public CheckpointContents Of(long step) => Describe(outputDir, step, _model, _moments);

    public static CheckpointContents Describe(string outputDir, long step, LanguageModel model, Tensor moments) => new()
    {
        OutputDir = outputDir,
        Step = step,
        TokensSeen = step * 100,
        Job = Job,
        CorpusSha256 = "c0ffee",
        Tokenizer = new ByteTokenizer(),
        Canary = "canary",
        Numerics = "libtorch 2.10 cpu, 1 thread",
        Weights = model.NamedWeights(),
        Optimizer = [new NamedTensor("exp_avg.h", moments)],
    };

    public void Dispose()
    {
        _moments.Dispose();
        _model.Dispose();
    }
}
