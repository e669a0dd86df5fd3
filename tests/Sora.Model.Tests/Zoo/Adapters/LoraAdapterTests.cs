using Sora.Model.Tests.Checkpoints;
using Sora.Model.Tests.Native;
using Sora.Model.Training;
using Sora.Model.Zoo;
using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Zoo.Adapters;

[Collection(LibtorchCollection.Name)]
public class LoraAdapterTests
{
    private static readonly LoraSettings _all = new() { R = 3, LoraAlpha = 6, TargetModules = [LoraSettings.AllLinear] };

    public static TheoryData<string> Decoders => new("llama", "tied llama", "gpt2", "untied gpt2", "mixed");

    [Theory]
    [MemberData(nameof(Decoders))]
    public void Forward_FreshAdapters_GivesExactlyTheNetworksOwnOutput(string name)
    {
        using var plain = TinyModels.Random(TinyModels.All[name]);
        using var adapted = Adapted(name, _all);

        Initialize(adapted);

        Assert.Equal(TinyModels.Logits(plain, 5, 77, 200, 3), TinyModels.Logits(adapted, 5, 77, 200, 3));
    }

    [Theory]
    [MemberData(nameof(Decoders))]
    public void Forward_IsThatOfTheMergedNetwork(string name)
    {
        using var model = Adapted(name, _all);
        Randomize(model);
        var before = TinyModels.Logits(TinyModels.Random(TinyModels.All[name]), 5, 77, 200, 3);

        var adapted = TinyModels.Logits(model, 5, 77, 200, 3);
        model.MergeAdapters();
        var merged = TinyModels.Logits(model, 5, 77, 200, 3);

        Assert.Contains(before.Zip(adapted), pair => Math.Abs(pair.First - pair.Second) > 0.1);
        Assert.All(adapted.Zip(merged), pair => Assert.Equal(pair.First, pair.Second, 1e-5 * Math.Max(1, Math.Abs(pair.First))));
        Assert.Empty(model.AdapterWeights);
    }

    [Fact]
    public void Forward_SomeOfTheFusedLayers_LeavesTheOthersAlone()
    {
        using var model = Adapted("llama", _all with { TargetModules = ["v_proj"] });
        Randomize(model);
        var adapted = TinyModels.Logits(model, 9, 8, 7);

        var expected = AddByHand(model, "v_proj", _all.LoraAlpha / _all.R);

        Assert.All(expected.Zip(adapted), pair => Assert.Equal(pair.First, pair.Second, 1e-4));
    }

    [Fact]
    public void UseRslora_ScalesByTheRootOfTheRank()
    {
        using var model = Adapted("llama", _all with { R = 4, TargetModules = ["o_proj"], UseRslora = true });
        Randomize(model);
        var adapted = TinyModels.Logits(model, 9, 8, 7);

        var expected = AddByHand(model, "o_proj", _all.LoraAlpha / 2);

        Assert.All(expected.Zip(adapted), pair => Assert.Equal(pair.First, pair.Second, 1e-4));
    }

    [Fact]
    public void Decode_TokenByToken_IsTheForwardPass()
    {
        using var scope = NewDisposeScope();
        using var model = Adapted("llama", _all);
        Randomize(model);
        long[] tokens = [4, 8, 15, 16, 23];

        using var state = model.NewDecodingState();
        Tensor last = null!;
        foreach (var token in tokens)
            last = model.Decode(tensor([token]).unsqueeze(0), state);

        using var _ = no_grad();
        Near.Equal(model.forward(tensor(tokens).unsqueeze(0))[0, ^1], last, 1e-4);
    }

    [Theory]
    [InlineData("llama")]
    [InlineData("gpt2")]
    [InlineData("mixed")]
    public void Gradient_EqualsCentralDifferences_AndTheNetworkHasNone(string name)
    {
        const int Vocab = 11;
        const int Time = 6;
        using var scope = NewDisposeScope();
        var settings = TinyModels.All[name] with { HiddenSize = 8, IntermediateSize = 12, NumAttentionHeads = 4, NumKeyValueHeads = name == "llama" ? 2 : null, InitializerRange = 0.4, Dropout = 0 };
        using var model = ModelZoo.Create(settings, Vocab, Time, dtype: ScalarType.Float64, lora: _all);
        model.Initialize(3);
        Randomize(model, ScalarType.Float64);
        var tokens = (arange(2 * (Time + 1), dtype: ScalarType.Int64) * 7 % Vocab).view(2, Time + 1);
        var (input, target) = (tokens.narrow(1, 0, Time), tokens.narrow(1, 1, Time).clone());

        StagedBackward.Run(model, input, target, seed: 0, recompute: false);

        ModelGradientTests.Check(name, model.AdapterWeights, () => StagedBackward.Loss(model.forward(input), target).item<double>());
        Assert.All(model.Weights, weight => Assert.Null(weight.Value.grad));
    }

    [Fact]
    public void TrainableCount_IsRankTimesInputsAndOutputs()
    {
        using var model = Adapted("llama", new LoraSettings { R = 5 });

        // q_proj 16 -> 16 and v_proj 16 -> 2 heads of 4, in each of two layers.
        Assert.Equal(2 * 5 * ((16 + 16) + (16 + 8)), model.TrainableCount);
        using var plain = TinyModels.Random(TinyModels.Llama);
        Assert.Equal(plain.ParameterCount, model.ParameterCount);
        Assert.Equal(plain.ParameterCount, plain.TrainableCount);
    }

    [Fact]
    public void Names_AreThoseOfPeft()
    {
        using var llama = Adapted("llama", new LoraSettings { R = 2 });
        using var gpt2 = Adapted("gpt2", new LoraSettings { R = 2, TargetModules = [LoraSettings.AllLinear] });

        Assert.Equal(
            [
                "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight [2, 16]", "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight [16, 2]",
                "base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight [2, 16]", "base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight [8, 2]",
            ],
            Described(llama).Take(4));
        Assert.Equal(
            [
                "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight [2, 16]", "base_model.model.transformer.h.0.attn.c_attn.lora_B.weight [48, 2]",
                "base_model.model.transformer.h.0.attn.c_proj.lora_A.weight [2, 16]", "base_model.model.transformer.h.0.attn.c_proj.lora_B.weight [16, 2]",
                "base_model.model.transformer.h.0.mlp.c_fc.lora_A.weight [2, 16]", "base_model.model.transformer.h.0.mlp.c_fc.lora_B.weight [64, 2]",
                "base_model.model.transformer.h.0.mlp.c_proj.lora_A.weight [2, 64]", "base_model.model.transformer.h.0.mlp.c_proj.lora_B.weight [16, 2]",
            ],
            Described(gpt2).Take(8));
    }

    [Fact]
    public void Create_UnknownTarget_NamesTheLayersThereAre()
    {
        var error = Assert.Throws<SoraException>(() => Adapted("gpt2", new LoraSettings { R = 2, TargetModules = ["q_proj"] }));

        Assert.Equal(ExitCode.Usage, error.ExitCode);
        Assert.Contains("'q_proj'", error.Message);
        Assert.Contains("c_attn, c_proj, c_fc", error.Message);
    }

    [Fact]
    public void Create_Lstm_IsRefused() =>
        Assert.Contains("only a decoder", Assert.Throws<SoraException>(() => Adapted("lstm", _all)).Message);

    /// <summary>The network of <see cref="TinyModels.Random"/> with adapters.</summary>
    private static LanguageModel Adapted(string name, LoraSettings lora)
    {
        var model = ModelZoo.Create(TinyModels.All[name], TinyModels.Vocab, TinyModels.Context, lora: lora);
        model.eval();
        using var plain = TinyModels.Random(TinyModels.All[name]);
        model.LoadWeights(plain.NamedWeights());
        return model;
    }

    private static void Initialize(LanguageModel model)
    {
        using var _ = no_grad();
        for (var i = 0; i < model.AdapterWeights.Count; i++)
            model.AdapterWeights[i].Value.copy_(model.AdapterWeights[i].Draw(5, i));
    }

    private static void Randomize(LanguageModel model, ScalarType dtype = ScalarType.Float32)
    {
        using var _ = no_grad();
        using var generator = new Generator(9);
        foreach (var weight in model.AdapterWeights)
            weight.Value.copy_(empty(weight.Value.shape, dtype: dtype).normal_(0, 0.4, generator));
    }

    // W + scaling * B A, written down layer by layer.
    private static float[] AddByHand(LanguageModel model, string module, double scaling)
    {
        using var plain = TinyModels.Random(TinyModels.Llama);
        using (no_grad())
        {
            foreach (var (name, value) in plain.NamedWeights().Where(weight => weight.Name.Contains(module)))
            {
                var adapter = model.AdapterWeights.Where(weight => weight.Parts[0].Name.Contains(name[..^".weight".Length] + ".")).ToList();
                value.add_(adapter[1].Value.mm(adapter[0].Value), alpha: scaling);
            }
        }
        return TinyModels.Logits(plain, 9, 8, 7);
    }

    private static IEnumerable<string> Described(LanguageModel model) =>
        model.AdapterWeights.Select(weight => $"{weight.Parts[0].Name} [{string.Join(", ", weight.Value.shape)}]");
}
