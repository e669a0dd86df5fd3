using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Training.Optimizers;

/// <summary>
/// Adadelta (Zeiler 2012, algorithm 1) with PyTorch's learning-rate factor; weight decay is L2:
/// E[g^2] = r E[g^2] + (1 - r) g^2; d = sqrt(E[d^2] + epsilon) / sqrt(E[g^2] + epsilon) g; E[d^2] = r E[d^2] + (1 - r) d^2; w -= lr d.
/// </summary>
internal sealed class Adadelta : Optimizer
{
    private readonly TrainingJob _job;
    private readonly Tensor _squareAverage;
    private readonly Tensor _updateAverage;

    public Adadelta(TrainingJob job, FlatLayout layout, Device device) : base(layout, device)
    {
        _job = job;
        _squareAverage = Remember("square_avg");
        _updateAverage = Remember("acc_delta");
    }

    protected override void Update(Tensor weights, Tensor gradient, double learningRate, long update)
    {
        AddDecay(gradient, weights, _job.WeightDecay);
        _squareAverage.mul_(_job.AdadeltaRho).addcmul_(gradient, gradient, 1 - _job.AdadeltaRho);
        var delta = _updateAverage.add(_job.AdamEpsilon).sqrt_().div_(_squareAverage.add(_job.AdamEpsilon).sqrt_()).mul_(gradient);
        _updateAverage.mul_(_job.AdadeltaRho).addcmul_(delta, delta, 1 - _job.AdadeltaRho);
        weights.add_(delta, alpha: -learningRate);
    }
}
