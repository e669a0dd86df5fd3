using Sora.Model.Tests.Native;
using Sora.Model.Training;
using Sora.Model.Zoo;
using Sora.Protocol.Jobs;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Zoo;

/// <summary>
/// Every weight's gradient against central differences (f(w + h) - f(w - h)) / 2h in fp64 with h = 1e-5. The difference has an
/// error of h^2 f'''/6 + 2^-52 |f| / h, some 1e-9 here, so a relative tolerance of 1e-6 separates right from wrong.
/// </summary>
[Collection(LibtorchCollection.Name)]
public class ModelGradientTests
{
    private const int VocabSize = 11;
    private const int Context = 6;
    private const double Step = 1e-5;
    private const double Tolerance = 1e-6;

    private static readonly ModelSettings _tiny = new() { HiddenSize = 8, NumHiddenLayers = 2, NumAttentionHeads = 4, IntermediateSize = 12, InitializerRange = 0.4 };

    public static TheoryData<string, ModelSettings> Shapes => new()
    {
        { "llama", _tiny },
        { "llama, grouped queries, free head", _tiny with { NumKeyValueHeads = 2, TieWordEmbeddings = false } },
        { "gpt-2", _tiny with { PositionEmbedding = PositionKind.Learned, Norm = NormKind.LayerNorm, Activation = ActivationKind.Gelu, Bias = true } },
        { "swiglu with bias", _tiny with { Bias = true } },
        { "lstm", _tiny with { Type = ModelKind.Lstm, EmbeddingSize = 5 } },
    };

    [Theory]
    [MemberData(nameof(Shapes), DisableDiscoveryEnumeration = true)]
    public void Gradient_EqualsCentralDifferences(string shape, ModelSettings settings)
    {
        using var scope = NewDisposeScope();
        using var model = ModelZoo.Create(settings, VocabSize, Context, dtype: ScalarType.Float64);
        model.Initialize(3);
        var tokens = Tokens(2, Context + 1);
        var (input, target) = (tokens.narrow(1, 0, Context), tokens.narrow(1, 1, Context).clone());
        target[1, Context - 1] = -1; // no target there

        StagedBackward.Run(model, input, target, seed: 0, recompute: false);

        Check(shape, model.Weights, () => StagedBackward.Loss(model.forward(input), target).item<double>());
    }

    [Fact]
    public void Gradient_OfTheClassifier_EqualsCentralDifferences()
    {
        using var scope = NewDisposeScope();
        using var model = new LstmClassifier(_tiny with { EmbeddingSize = 5 }, VocabSize, classes: 3, CPU, ScalarType.Float64);
        using (no_grad())
        {
            for (var i = 0; i < model.Weights.Count; i++)
                model.Weights[i].Value.copy_(model.Weights[i].Draw(3, i));
        }
        var input = Tokens(2, Context);
        var target = tensor(new long[] { 0, 2 });
        double Loss() => nn.functional.cross_entropy(model.forward(input), target, reduction: nn.Reduction.Sum).item<double>();

        nn.functional.cross_entropy(model.forward(input), target, reduction: nn.Reduction.Sum).backward();

        Assert.Equal([2, 3], model.forward(input).shape);
        Check("classifier", model.Weights, Loss);
    }

    private static Tensor Tokens(long rows, long columns) =>
        (arange(rows * columns, dtype: ScalarType.Int64) * 7 % VocabSize).view(rows, columns);

    internal static void Check(string shape, IReadOnlyList<Weight> weights, Func<double> loss)
    {
        using var _ = no_grad();
        foreach (var weight in weights)
        {
            var name = weight.Parts[0].Name;
            var values = weight.Value.view(-1);
            var gradient = weight.Value.grad!.view(-1);
            Assert.True(gradient.abs().max().item<double>() > 1e-4, $"{shape}: {name} has no gradient.");
            // A dozen places spread over the tensor, every part included.
            for (long i = 0, places = Math.Min(12, values.numel()); i < places; i++)
            {
                using var scope = NewDisposeScope();
                var at = i * (values.numel() - 1) / Math.Max(1, places - 1);
                var value = values[at].item<double>();
                double At(double changed)
                {
                    values[at] = changed;
                    return loss();
                }
                var expected = (At(value + Step) - At(value - Step)) / (2 * Step);
                values[at] = value;
                var actual = gradient[at].item<double>();
                Assert.True(Math.Abs(actual - expected) <= Tolerance * Math.Max(1, Math.Abs(expected)), $"{shape}: {name}[{at}] is {actual}, differences give {expected}.");
            }
        }
    }
}
