using System.Security.Cryptography;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Privacy;

/// <summary>
/// Gaussian noise the coordinator adds to the sum of clipped updates, scaled to what was really summed: a contributor's clipped update times
/// its weight changes the sum by at most <c>MaximumWeight * ClippingNorm</c>.
/// </summary>
/// <param name="NoiseMultiplier">Standard deviation over sensitivity: the accountant's.</param>
/// <param name="ClippingNorm">The L2 norm the updates of THIS sum were clipped to.</param>
/// <param name="MaximumWeight">1 when all weigh the same; otherwise a bound that was fixed before the round and that <see cref="CheckWeight"/> holds.</param>
public sealed record CentralNoise(double NoiseMultiplier, double ClippingNorm, double MaximumWeight = 1)
{
    // Grid steps in a standard deviation, at least.
    private const double Fineness = 1 << 22;

    /// <summary>By how much one contributor can change the sum, in L2 norm.</summary>
    public double Sensitivity => MaximumWeight * ClippingNorm;

    /// <summary>Standard deviation of the noise on the sum, before the allowance for the grid.</summary>
    public double Deviation => NoiseMultiplier * Sensitivity;

    /// <summary>Refuses a weight above the bound, or one that is no weight.</summary>
    public double CheckWeight(double weight) => weight >= 0 && weight <= MaximumWeight
        ? weight
        : throw new SoraException($"The update's weight is {weight}, but the noise is made for weights from 0 to {MaximumWeight}. Cap the weights, or set the bound higher before the round.", ExitCode.InvalidInput);

    /// <summary>
    /// Rounds the sum to a grid and adds discrete Gaussian noise on it. The grid's spacing is a power of two below the standard deviation
    /// over 2^22. Rounding can move two neighbouring sums apart by spacing * sqrt(dimensions); the noise is that much larger, which for
    /// a million parameters is less than a thousandth per unit of noise multiplier.
    /// </summary>
    public void AddTo(Span<double> sum, RandomNumberGenerator random)
    {
        UpdateClipping.CheckLimit(ClippingNorm);
        UpdateClipping.CheckLimit(MaximumWeight);
        new PrivacyEvent(NoiseMultiplier, 1, 1).Validated();
        var spacing = Math.ScaleB(1, Math.ILogB(Deviation / Fineness));
        var deviation = NoiseMultiplier * (Sensitivity + spacing * Math.Sqrt(sum.Length));
        var noise = new DiscreteGaussian(DiscreteGaussian.VarianceOf(deviation / spacing), random);
        for (var i = 0; i < sum.Length; i++)
        {
            var steps = Math.Round(sum[i] / spacing);
            if (!(Math.Abs(steps) < 1L << 53))
                throw new SoraException($"The sum's parameter {i} is {sum[i]}, which does not fit the noise's grid of {spacing}. Updates of norm {ClippingNorm} cannot give it: were they clipped?", ExitCode.InvalidInput);
            sum[i] = ((long)steps + noise.Sample()) * spacing;
        }
    }

    /// <summary>
    /// Adds the noise and divides by a weight that is public or was fixed beforehand (the expected one). Dividing by the weight that happened to
    /// come would tell who came, and let one contributor change the result by more than the sensitivity.
    /// </summary>
    public void ReleaseAverage(Span<double> sum, double publicWeight, RandomNumberGenerator random)
    {
        UpdateClipping.CheckLimit(publicWeight);
        AddTo(sum, random);
        foreach (ref var value in sum) value /= publicWeight;
    }
}
