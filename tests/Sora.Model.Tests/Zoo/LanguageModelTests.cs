using Sora.Model.Tests.Native;
using Sora.Model.Training;
using Sora.Model.Zoo;
using Sora.Protocol.Jobs;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Zoo;

[Collection(LibtorchCollection.Name)]
public class LanguageModelTests
{
    private const int VocabSize = 29;
    private const int Context = 10;

    private static readonly ModelSettings _llama = new() { HiddenSize = 16, NumHiddenLayers = 2, NumAttentionHeads = 4, NumKeyValueHeads = 2, IntermediateSize = 24, InitializerRange = 0.3 };
    private static readonly ModelSettings _gpt2 = _llama with
    {
        NumKeyValueHeads = null,
        PositionEmbedding = PositionKind.Learned,
        Norm = NormKind.LayerNorm,
        Activation = ActivationKind.Gelu,
        Bias = true,
    };

    private static readonly ModelSettings _lstm = new() { Type = ModelKind.Lstm, HiddenSize = 12, EmbeddingSize = 10, NumHiddenLayers = 2, InitializerRange = 0.3 };

    public static TheoryData<ModelSettings> Shapes => new(_llama, _gpt2, _lstm);

    [Fact]
    public void NamedWeights_OfALlamaShape_AreHuggingFacesNames()
    {
        using var model = ModelZoo.Create(_llama with { TieWordEmbeddings = false, NumHiddenLayers = 1 }, VocabSize, Context);

        Assert.Equal(
            [
                "model.embed_tokens.weight [29, 16]",
                "model.layers.0.input_layernorm.weight [16]",
                "model.layers.0.self_attn.q_proj.weight [16, 16]",
                "model.layers.0.self_attn.k_proj.weight [8, 16]",
                "model.layers.0.self_attn.v_proj.weight [8, 16]",
                "model.layers.0.self_attn.o_proj.weight [16, 16]",
                "model.layers.0.post_attention_layernorm.weight [16]",
                "model.layers.0.mlp.gate_proj.weight [24, 16]",
                "model.layers.0.mlp.up_proj.weight [24, 16]",
                "model.layers.0.mlp.down_proj.weight [16, 24]",
                "model.norm.weight [16]",
                "lm_head.weight [29, 16]",
            ],
            Describe(model));
    }

    [Fact]
    public void NamedWeights_OfAnLstm()
    {
        using var model = ModelZoo.Create(_lstm with { NumHiddenLayers = 2 }, VocabSize, Context);

        Assert.Equal(
            [
                "model.embed_tokens.weight [29, 10]",
                "model.lstm.weight_ih_l0 [48, 10]", "model.lstm.weight_hh_l0 [48, 12]", "model.lstm.bias_ih_l0 [48]", "model.lstm.bias_hh_l0 [48]",
                "model.lstm.weight_ih_l1 [48, 12]", "model.lstm.weight_hh_l1 [48, 12]", "model.lstm.bias_ih_l1 [48]", "model.lstm.bias_hh_l1 [48]",
                "lm_head.weight [29, 12]", "lm_head.bias [29]",
            ],
            Describe(model));
    }

    [Fact]
    public void TiedHead_IsTheEmbedding_AndCountedOnce()
    {
        using var tied = ModelZoo.Create(_llama, VocabSize, Context);
        using var free = ModelZoo.Create(_llama with { TieWordEmbeddings = false }, VocabSize, Context);

        Assert.DoesNotContain(tied.NamedWeights(), weight => weight.Name == "lm_head.weight");
        Assert.Equal(VocabSize * 16, free.ParameterCount - tied.ParameterCount);
        Assert.Equal(tied.FlopsPerToken(Context), free.FlopsPerToken(Context)); // the same matrix products
    }

    [Fact]
    public void Flops_OfGpt2Small_AreThePublishedCount()
    {
        var settings = new ModelSettings
        {
            HiddenSize = 768,
            NumHiddenLayers = 12,
            NumAttentionHeads = 12,
            PositionEmbedding = PositionKind.Learned,
            Norm = NormKind.LayerNorm,
            Activation = ActivationKind.Gelu,
            Bias = true,
        };
        using var model = ModelZoo.Create(settings, 50257, 1024, META); // counted, not allocated

        Assert.Equal(124_439_808, model.ParameterCount); // GPT-2 "124M"
        Assert.Equal(6.0 * (124_439_808 - 1024 * 768) + 12.0 * 12 * 768 * 1024, model.FlopsPerToken(1024));
    }

    [Fact]
    public void Create_OnTheMetaDevice_TakesNoMemory()
    {
        var settings = new ModelSettings { HiddenSize = 1 << 16, IntermediateSize = 1 << 18, NumHiddenLayers = 4, NumAttentionHeads = 512, TieWordEmbeddings = false };
        using var model = ModelZoo.Create(settings, 1 << 26, 128, META); // each table alone would be 16 TiB

        Assert.Equal(2L * (1L << 42) + 4 * ((4L << 32) + (3L << 34) + (2L << 16)) + (1L << 16), model.ParameterCount);
    }

    [Theory]
    [MemberData(nameof(Shapes), DisableDiscoveryEnumeration = true)]
    public void Decode_PieceByPiece_EqualsTheWholeForward(ModelSettings settings)
    {
        using var scope = NewDisposeScope();
        using var model = ModelZoo.Create(settings, VocabSize, Context);
        model.Initialize(1);
        model.eval();
        var tokens = (arange(Context, dtype: ScalarType.Int64) * 5 % VocabSize).unsqueeze(0);
        using var whole = no_grad();
        var expected = model.forward(tokens).squeeze(0);

        using var state = model.NewDecodingState();
        long fed = 0;
        foreach (var count in new[] { 4, 1, 1, 3, 1 }) // a prompt, single tokens, and a piece after them
        {
            var logits = model.Decode(tokens.narrow(1, fed, count), state);
            fed += count;
            Near.Equal(expected[fed - 1], logits, 1e-4);
            Assert.Equal(fed, state.Length);
        }
    }

    [Fact]
    public void Decode_PastTheLastPosition_SaysSo()
    {
        using var scope = NewDisposeScope();
        using var model = ModelZoo.Create(_llama, VocabSize, Context);
        using var state = model.NewDecodingState();
        model.Decode(zeros(1, Context, dtype: ScalarType.Int64), state).Dispose();

        var error = Assert.Throws<SoraException>(() => model.Decode(zeros(1, 1, dtype: ScalarType.Int64), state));
        Assert.Contains("10 positions", error.Message);
    }

    [Theory]
    [MemberData(nameof(Shapes), DisableDiscoveryEnumeration = true)]
    public void LoadWeights_MakesTheSameModel(ModelSettings settings)
    {
        using var scope = NewDisposeScope();
        using var first = ModelZoo.Create(settings, VocabSize, Context);
        using var second = ModelZoo.Create(settings, VocabSize, Context);
        first.Initialize(1);
        second.LoadWeights(first.NamedWeights());
        var tokens = zeros(1, 3, dtype: ScalarType.Int64);

        Near.Equal(first.forward(tokens), second.forward(tokens), 0);
    }

    [Fact]
    public void LoadWeights_OfAnotherModel_NamesWhatIsWrong_AndChangesNothing()
    {
        using var scope = NewDisposeScope();
        using var model = ModelZoo.Create(_llama, VocabSize, Context);
        using var other = ModelZoo.Create(_llama with { HiddenSize = 32, TieWordEmbeddings = false }, VocabSize, Context);
        other.Initialize(1);
        model.Initialize(1);
        var before = model.NamedWeights().Select(weight => weight.Value.clone()).ToList();

        var error = Assert.Throws<SoraException>(() => model.LoadWeights(other.NamedWeights()));

        Assert.Equal(ExitCode.InvalidInput, error.ExitCode);
        Assert.Contains("model.embed_tokens.weight has shape [29, 32], this model needs [29, 16]", error.Message);
        Assert.All(model.NamedWeights().Zip(before), pair => Near.Equal(pair.Second, pair.First.Value, 0));
    }

    [Fact]
    public void Initialize_GivesTheStatedDistributions()
    {
        using var scope = NewDisposeScope();
        using var model = ModelZoo.Create(_gpt2 with { HiddenSize = 128, NumHiddenLayers = 8, IntermediateSize = null, InitializerRange = 0.02 }, 500, Context);
        model.Initialize(1);
        var weights = model.NamedWeights().ToDictionary(weight => weight.Name, weight => weight.Value);

        double Deviation(string name) => weights[name].std().item<float>();
        Assert.Equal(0.02, Deviation("model.embed_tokens.weight"), 0.001);
        Assert.Equal(0.02, Deviation("model.layers.3.self_attn.q_proj.weight"), 0.001);
        Assert.Equal(0.02 / 4, Deviation("model.layers.3.self_attn.o_proj.weight"), 0.0003); // / sqrt(2 * 8)
        Assert.Equal(0.02 / 4, Deviation("model.layers.3.mlp.down_proj.weight"), 0.0003);
        Near.Equal(ones(128), weights["model.norm.weight"], 0);
        Near.Equal(zeros(128), weights["model.layers.3.self_attn.k_proj.bias"], 0);
    }

    [Fact]
    public void Initialize_DependsOnTheSeedAlone()
    {
        using var scope = NewDisposeScope();
        using var first = ModelZoo.Create(_llama, VocabSize, Context);
        using var second = ModelZoo.Create(_llama, VocabSize, Context);
        using var third = ModelZoo.Create(_llama, VocabSize, Context);
        first.Initialize(1);
        manual_seed(99);
        second.Initialize(1);
        third.Initialize(2);

        Near.Equal(first.NamedWeights()[0].Value, second.NamedWeights()[0].Value, 0);
        Assert.NotEqual(first.NamedWeights()[0].Value[0, 0].item<float>(), third.NamedWeights()[0].Value[0, 0].item<float>());
    }

    [Theory]
    [InlineData(15, 4, null, 10, "hidden_size 15 is not divisible")]
    [InlineData(16, 4, 3, 10, "not divisible by model.num_key_value_heads 3")]
    [InlineData(12, 4, null, 10, "even head size")]
    [InlineData(16, 4, null, 8, "context_length 10 is above")]
    public void Create_SettingsThatDoNotFit_SaysWhich(int hidden, int heads, int? keyValueHeads, int positions, string message)
    {
        var settings = _llama with { HiddenSize = hidden, NumAttentionHeads = heads, NumKeyValueHeads = keyValueHeads, MaxPositionEmbeddings = positions };

        Assert.Contains(message, Assert.Throws<SoraException>(() => ModelZoo.Create(settings, VocabSize, Context)).Message);
    }

    private static IEnumerable<string> Describe(LanguageModel model) =>
        model.NamedWeights().Select(weight => $"{weight.Name} [{string.Join(", ", weight.Value.shape)}]");
}
