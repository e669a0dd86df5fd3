using Sora.Model.Native;
using Sora.Model.Tests.Native;
using Sora.Model.Tests.Zoo;
using Sora.Model.Training;
using Sora.Model.Training.Optimizers;
using Sora.Model.Zoo;
using Sora.Protocol.Jobs;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Training;

/// <summary>Each optimizer against its published formula, written out once more in fp64 for single numbers.</summary>
[Collection(LibtorchCollection.Name)]
public class OptimizerTests
{
    private const double LearningRate = 0.05;

    private static readonly TrainingJob _job = new()
    {
        WeightDecay = 0.3,
        AdamBeta1 = 0.8,
        AdamBeta2 = 0.9,
        AdamEpsilon = 1e-3,
        Momentum = 0.7,
        AdadeltaRho = 0.85,
    };

    // One matrix (decayed) and one vector (not).
    private static readonly ModelSettings _model = new() { Type = ModelKind.Lstm, HiddenSize = 2, EmbeddingSize = 3, NumHiddenLayers = 1 };

    [Theory]
    [InlineData(OptimizerKind.Sgd)]
    [InlineData(OptimizerKind.Momentum)]
    [InlineData(OptimizerKind.Adam)]
    [InlineData(OptimizerKind.AdamW)]
    [InlineData(OptimizerKind.Adadelta)]
    public void Step_FiveTimes_EqualsTheFormula(OptimizerKind kind)
    {
        using var scope = NewDisposeScope();
        using var model = ModelZoo.Create(_model, 5, 4);
        var layout = new FlatLayout(model.Weights);
        using var optimizer = Optimizer.Create(_job with { Optim = kind }, layout, CPU);
        manual_seed(1);
        var weights = randn(layout.Length);
        var references = Enumerable.Range(0, (int)layout.Length).Select(i => new Reference(weights[i].item<float>(), i < layout.DecayedLength ? _job.WeightDecay : 0)).ToArray();

        for (var update = 1; update <= 5; update++)
        {
            var gradient = randn(layout.Length);
            for (var i = 0; i < references.Length; i++)
                references[i].Step(kind, gradient[i].item<float>(), update);
            optimizer.Step(weights, gradient, LearningRate, update);
        }

        for (var i = 0; i < references.Length; i++)
            Assert.Equal(references[i].Weight, weights[i].item<float>(), 5e-6);
    }

    [Fact]
    public void AdamW_FusedAndManaged_Agree()
    {
        Assert.True(Dispatcher.Available);
        using var scope = NewDisposeScope();
        using var _ = no_grad();
        using var model = ModelZoo.Create(_model, 5, 4);
        var layout = new FlatLayout(model.Weights);
        using var fused = new AdamW(_job, layout, CPU);
        using var managed = new AdamW(_job, layout, CPU);
        manual_seed(2);
        var weights = randn(layout.Length);
        var other = weights.clone();

        for (var update = 1; update <= 5; update++)
        {
            var gradient = randn(layout.Length);
            fused.Step(weights, gradient, LearningRate, update);
            managed.Managed(other, gradient, LearningRate, update);
        }

        Near.Equal(weights, other, 1e-6);
    }

    [Fact]
    public void FirstStep_OfAdamW_ByHand()
    {
        // g = 2, w = 1, t = 1: m = 0.2 * 2 = 0.4, corrected 0.4 / 0.2 = 2; v = 0.1 * 4 = 0.4, corrected 0.4 / 0.1 = 4;
        // w = 1 - 0.05 * 0.3 * 1 - 0.05 * 2 / (sqrt(4) + 0.001) = 0.985 - 0.1 / 2.001
        var reference = new Reference(1, 0.3);
        reference.Step(OptimizerKind.AdamW, 2, 1);

        Assert.Equal(0.985 - 0.1 / 2.001, reference.Weight, 12);
    }

    /// <summary>One weight in fp64.</summary>
    private sealed class Reference(double weight, double decay)
    {
        private double _first;
        private double _second;

        public double Weight { get; private set; } = weight;

        public void Step(OptimizerKind kind, double gradient, int update)
        {
            if (kind == OptimizerKind.AdamW)
                Weight -= LearningRate * decay * Weight; // Loshchilov and Hutter 2019, algorithm 2, with the decay scaled by the rate
            else
                gradient += decay * Weight;
            switch (kind)
            {
                case OptimizerKind.Sgd:
                    Weight -= LearningRate * gradient;
                    break;
                case OptimizerKind.Momentum: // Polyak 1964; torch.optim.SGD without dampening
                    _first = _job.Momentum * _first + gradient;
                    Weight -= LearningRate * _first;
                    break;
                case OptimizerKind.Adam or OptimizerKind.AdamW: // Kingma and Ba 2015, algorithm 1
                    _first = _job.AdamBeta1 * _first + (1 - _job.AdamBeta1) * gradient;
                    _second = _job.AdamBeta2 * _second + (1 - _job.AdamBeta2) * gradient * gradient;
                    var mean = _first / (1 - Math.Pow(_job.AdamBeta1, update));
                    var square = _second / (1 - Math.Pow(_job.AdamBeta2, update));
                    Weight -= LearningRate * mean / (Math.Sqrt(square) + _job.AdamEpsilon);
                    break;
                case OptimizerKind.Adadelta: // Zeiler 2012, algorithm 1
                    _first = _job.AdadeltaRho * _first + (1 - _job.AdadeltaRho) * gradient * gradient;
                    var delta = Math.Sqrt(_second + _job.AdamEpsilon) / Math.Sqrt(_first + _job.AdamEpsilon) * gradient;
                    _second = _job.AdadeltaRho * _second + (1 - _job.AdadeltaRho) * delta * delta;
                    Weight -= LearningRate * delta;
                    break;
            }
        }
    }
}
