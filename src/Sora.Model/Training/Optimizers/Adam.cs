using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Training.Optimizers;

/// <summary>Adam (Kingma and Ba 2015, algorithm 1); weight decay is L2, added to the gradient.</summary>
internal sealed class Adam : Optimizer
{
    private readonly TrainingJob _job;
    private readonly AdamMoments _moments;

    public Adam(TrainingJob job, FlatLayout layout, Device device) : base(layout, device)
    {
        _job = job;
        _moments = new AdamMoments(job, Remember("exp_avg"), Remember("exp_avg_sq"));
    }

    protected override void Update(Tensor weights, Tensor gradient, double learningRate, long update)
    {
        AddDecay(gradient, weights, _job.WeightDecay);
        _moments.Update(weights, gradient, learningRate, update);
    }
}
