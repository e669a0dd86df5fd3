using Sora.Model.Checkpoints;
using Sora.Model.Training;
using Sora.Model.Zoo;
using Sora.Protocol.Jobs;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Checkpoints;

/// <summary>Networks small enough for a test, one of each family.</summary>
internal static class TinyModels
{
    public const int Vocab = 257;
    public const int Context = 16;

    public static readonly ModelSettings Llama = new()
    {
        HiddenSize = 16,
        NumHiddenLayers = 2,
        NumAttentionHeads = 4,
        NumKeyValueHeads = 2,
        IntermediateSize = 24,
        TieWordEmbeddings = false,
    };

    public static readonly ModelSettings TiedLlama = Llama with { TieWordEmbeddings = true, NumKeyValueHeads = null, IntermediateSize = null };

    public static readonly ModelSettings Gpt2 = new()
    {
        HiddenSize = 16,
        NumHiddenLayers = 2,
        NumAttentionHeads = 2,
        Norm = NormKind.LayerNorm,
        Activation = ActivationKind.Gelu,
        PositionEmbedding = PositionKind.Learned,
        Bias = true,
        Dropout = 0.1,
    };

    public static readonly ModelSettings UntiedGpt2 = Gpt2 with { TieWordEmbeddings = false, MaxPositionEmbeddings = 20 };

    public static readonly ModelSettings Mixed = Gpt2 with { Norm = NormKind.RmsNorm, NumKeyValueHeads = 1 };

    public static readonly ModelSettings Lstm = new() { Type = ModelKind.Lstm, HiddenSize = 12, NumHiddenLayers = 2, EmbeddingSize = 8 };

    public static TheoryData<string> Names => new(All.Keys);

    public static readonly Dictionary<string, ModelSettings> All = new()
    {
        ["llama"] = Llama,
        ["tied llama"] = TiedLlama,
        ["gpt2"] = Gpt2,
        ["untied gpt2"] = UntiedGpt2,
        ["mixed"] = Mixed,
        ["lstm"] = Lstm,
    };

    /// <summary>A model whose every weight is random, so that a weight in the wrong place shows.</summary>
    public static LanguageModel Random(ModelSettings settings, long seed = 1)
    {
        var model = ModelZoo.Create(settings, Vocab, Context);
        model.eval();
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        using var generator = new Generator((ulong)seed);
        foreach (var weight in model.NamedWeights())
            weight.Value.normal_(0, 0.3, generator);
        return model;
    }

    public static LanguageModel Load(ModelDescription description, IReadOnlyList<NamedTensor> weights)
    {
        var model = ModelZoo.Create(description.Settings, description.VocabSize, description.MaxPositions);
        model.eval();
        model.LoadWeights(weights);
        return model;
    }

    public static ModelDescription Describe(ModelSettings settings) => ModelDescription.Of(new TrainingJob { Model = settings, ContextLength = Context }, Vocab, 256);

    public static float[] Logits(LanguageModel model, params long[] tokens)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        return model.forward(tensor(tokens).unsqueeze(0)).data<float>().ToArray();
    }
}
