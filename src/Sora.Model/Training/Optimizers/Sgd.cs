using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Training.Optimizers;

/// <summary>w -= lr (g + decay w).</summary>
internal sealed class Sgd(TrainingJob job, FlatLayout layout, Device device) : Optimizer(layout, device)
{
    protected override void Update(Tensor weights, Tensor gradient, double learningRate, long update)
    {
        AddDecay(gradient, weights, job.WeightDecay);
        weights.add_(gradient, alpha: -learningRate);
    }
}
