using System.Security.Cryptography;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Privacy;

/// <summary>
/// Noise without anybody who sees the bare sum: each site adds a share of discrete Gaussian noise on the fixed-point grid before its update is
/// masked, such that the shares of the fewest sites that can be in a sum make up the whole noise (Kairouz, Liu and Steinke 2021). More sites
/// give more noise than needed. A site that plots with the coordinator takes its share away: count only those that do not.
/// </summary>
/// <param name="NoiseMultiplier">Of the sum, when just <paramref name="Survivors"/> shares are in it: the accountant's.</param>
/// <param name="ClippingNorm">The L2 norm updates are clipped to.</param>
/// <param name="Spacing">The grid: value = whole number * spacing.</param>
/// <param name="Survivors">With how many honest sites at least a sum is opened; fewer, and the round fails.</param>
public sealed record DistributedNoise(double NoiseMultiplier, double ClippingNorm, double Spacing, int Survivors)
{
    // A sum of discrete Gaussians is not quite one; with shares of this variance the privacy loss differs by less than
    // 10 * survivors * exp(-pi^2 * 8) = 5e-34 per survivor and dimension, which no double shows.
    private const long LeastShareVariance = 8;

    /// <summary>Variance of one site's share, in squared grid steps.</summary>
    public long ShareVariance
    {
        get
        {
            UpdateClipping.CheckLimit(ClippingNorm);
            UpdateClipping.CheckLimit(Spacing);
            new PrivacyEvent(NoiseMultiplier, 1, 1).Validated();
            ArgumentOutOfRangeException.ThrowIfLessThan(Survivors, 1);
            var share = DiscreteGaussian.VarianceOf(NoiseMultiplier * ClippingNorm / Spacing / Math.Sqrt(Survivors));
            return share >= LeastShareVariance ? share : throw new SoraException(
                $"A site's share of the noise would have a variance of {share} grid steps; below {LeastShareVariance} shares do not add up to Gaussian noise. Take a spacing below {Spacing}.", ExitCode.Usage);
        }
    }

    /// <summary>The noise multiplier of a sum with this many shares in it.</summary>
    public double NoiseMultiplierWith(int survivors) => survivors >= Survivors
        ? Math.Sqrt(survivors * (double)ShareVariance) * Spacing / ClippingNorm
        : throw new SoraException($"Only {survivors} sites are in the sum, and the noise needs {Survivors}: it must not be opened.");

    /// <summary>
    /// A clipped update on the grid, with this site's share of the noise. Values are cut off towards zero, so that the update's norm stays
    /// under the limit and the sum's sensitivity is the clipping norm exactly.
    /// </summary>
    public void Encode(ReadOnlySpan<float> clipped, Span<long> steps, RandomNumberGenerator random)
    {
        if (steps.Length != clipped.Length) throw new ArgumentException($"{clipped.Length} parameters do not go into {steps.Length} places.", nameof(steps));
        var noise = new DiscreteGaussian(ShareVariance, random);
        var norm = new UpdateNorm();
        norm.Add(clipped);
        if (norm.Value > ClippingNorm) throw new SoraException($"The update has norm {norm.Value}, above the {ClippingNorm} the noise is made for. Clip it first.", ExitCode.InvalidInput);
        for (var i = 0; i < clipped.Length; i++) steps[i] = checked((long)Math.Truncate(clipped[i] / Spacing) + noise.Sample());
    }
}
