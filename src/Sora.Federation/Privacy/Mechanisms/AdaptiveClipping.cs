using System.Security.Cryptography;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Privacy;

/// <summary>
/// A clipping norm that follows a quantile of the updates' norms (Andrew et al. 2021): it falls when more than the target quantile of the
/// updates lies under it and grows when fewer do. A round's noise is scaled to the norm its updates were clipped to, never to the next one.
/// </summary>
/// <param name="Limit">The clipping norm of this round.</param>
/// <param name="TargetQuantile">Which share of the updates should lie under it.</param>
/// <param name="LearningRate">How fast it follows, in powers of e a round.</param>
public sealed record AdaptiveClipping(double Limit, double TargetQuantile = 0.5, double LearningRate = 0.2)
{
    /// <summary>The next round's clipping, given the share of updates that were NOT clipped.</summary>
    public AdaptiveClipping Next(double unclippedFraction)
    {
        UpdateClipping.CheckLimit(Limit);
        if (!(unclippedFraction is >= 0 and <= 1)) throw new SoraException($"The share of updates that were not clipped is {unclippedFraction}; it lies between 0 and 1.");
        return this with { Limit = Limit * Math.Exp(-LearningRate * (unclippedFraction - TargetQuantile)) };
    }

    /// <summary>
    /// The share of unclipped updates with noise. What is summed is 1/2 for an unclipped update and -1/2 for a clipped one, so that a
    /// contributor changes the sum by 1/2 whatever its norm.
    /// </summary>
    /// <param name="unclipped">How many were not clipped.</param>
    /// <param name="contributors">How many there were.</param>
    /// <param name="deviation">Standard deviation of the noise on the sum; Andrew et al. take a twentieth of the contributors.</param>
    /// <param name="random">A cryptographic generator.</param>
    public static double NoisyFraction(int unclipped, int contributors, double deviation, RandomNumberGenerator random)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(contributors, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)unclipped, (uint)contributors);
        // In halves everything is a whole number.
        var doubled = 2 * unclipped - contributors + new DiscreteGaussian(DiscreteGaussian.VarianceOf(2 * deviation), random).Sample();
        return Math.Clamp(0.5 + doubled / (2.0 * contributors), 0, 1);
    }

    /// <summary>
    /// The noise multiplier left for the updates when the count is released too, such that both together cost what one release with
    /// <paramref name="noiseMultiplier"/> costs.
    /// </summary>
    public static double UpdateNoiseMultiplier(double noiseMultiplier, double countDeviation)
    {
        var left = Math.Pow(noiseMultiplier, -2) - Math.Pow(2 * countDeviation, -2);
        if (!(left > 0))
            throw new SoraException($"Noise of {countDeviation} on the count leaves nothing for the updates at a noise multiplier of {noiseMultiplier}: it must be above {noiseMultiplier / 2}.", ExitCode.Usage);
        return 1 / Math.Sqrt(left);
    }
}
