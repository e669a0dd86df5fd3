using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Training.Optimizers;

/// <summary>The running moments Adam and AdamW share, and the step they give.</summary>
internal sealed class AdamMoments(TrainingJob job, Tensor first, Tensor second)
{
    public Tensor First { get; } = first;

    public Tensor Second { get; } = second;

    /// <summary>
    /// m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon).
    /// </summary>
    public void Update(Tensor weights, Tensor gradient, double learningRate, long update)
    {
        First.mul_(job.AdamBeta1).add_(gradient, alpha: 1 - job.AdamBeta1);
        Second.mul_(job.AdamBeta2).addcmul_(gradient, gradient, 1 - job.AdamBeta2);
        var firstCorrection = 1 - Math.Pow(job.AdamBeta1, update);
        var secondCorrection = 1 - Math.Pow(job.AdamBeta2, update);
        var denominator = Second.sqrt().div_(Math.Sqrt(secondCorrection)).add_(job.AdamEpsilon);
        weights.addcdiv_(First, denominator, -learningRate / firstCorrection);
    }
}
