using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Training.Optimizers;

/// <summary>Heavy ball (Polyak 1964) as PyTorch's SGD has it: v = m v + (g + decay w); w -= lr v.</summary>
internal sealed class Momentum : Optimizer
{
    private readonly TrainingJob _job;
    private readonly Tensor _velocity;

    public Momentum(TrainingJob job, FlatLayout layout, Device device) : base(layout, device)
    {
        _job = job;
        _velocity = Remember("momentum_buffer");
    }

    protected override void Update(Tensor weights, Tensor gradient, double learningRate, long update)
    {
        AddDecay(gradient, weights, _job.WeightDecay);
        _velocity.mul_(_job.Momentum).add_(gradient);
        weights.add_(_velocity, alpha: -learningRate);
    }
}
