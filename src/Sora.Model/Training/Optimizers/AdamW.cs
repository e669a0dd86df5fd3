using Sora.Model.Native;
using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Training.Optimizers;

/// <summary>
/// AdamW (Loshchilov and Hutter 2019): w -= lr decay w, then Adam's step. One fused pass over memory where libtorch's
/// operator can be reached, else a dozen.
/// </summary>
internal sealed class AdamW : Optimizer
{
    private readonly TrainingJob _job;
    private readonly AdamMoments _moments;

    public AdamW(TrainingJob job, FlatLayout layout, Device device) : base(layout, device)
    {
        _job = job;
        _moments = new AdamMoments(job, Remember("exp_avg"), Remember("exp_avg_sq"));
    }

    protected override void Update(Tensor weights, Tensor gradient, double learningRate, long update)
    {
        if (Dispatcher.Available)
        {
            Fused(Decayed, weights, gradient, learningRate, _job.WeightDecay, update);
            Fused(NotDecayed, weights, gradient, learningRate, 0, update);
        }
        else
        {
            Managed(weights, gradient, learningRate, update);
        }
    }

    /// <summary>The same update by TorchSharp's own operators.</summary>
    internal void Managed(Tensor weights, Tensor gradient, double learningRate, long update)
    {
        Decayed(weights).mul_(1 - learningRate * _job.WeightDecay);
        _moments.Update(weights, gradient, learningRate, update);
    }

    private void Fused(Func<Tensor, Tensor> part, Tensor weights, Tensor gradient, double learningRate, double decay, long update)
    {
        if (part(weights).numel() == 0)
            return;
        Dispatcher.FusedAdamW(
            part(weights), part(gradient), part(_moments.First), part(_moments.Second), tensor((float)update, device: Device),
            learningRate, _job.AdamBeta1, _job.AdamBeta2, decay, _job.AdamEpsilon);
    }
}
