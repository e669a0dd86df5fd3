using System.Globalization;
using System.Numerics;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Privacy;

/// <summary>
/// A number of equal releases, each a sum of contributions of L2 norm at most C plus Gaussian noise of standard deviation
/// <paramref name="NoiseMultiplier"/> times C. Neighbouring data sets differ by one contributor more or less (add or remove).
/// </summary>
/// <param name="NoiseMultiplier">Standard deviation of the noise over the most that one contributor can change the sum.</param>
/// <param name="SampleRate">
/// With which probability each contributor takes part in a release, independently of all others (Poisson sampling); 1 when all always do.
/// A cohort of fixed size is another sampling, which this does not describe.
/// </param>
/// <param name="Count">How many releases.</param>
public sealed record PrivacyEvent(double NoiseMultiplier, double SampleRate, long Count)
{
    internal const long MostReleases = 100_000_000;

    /// <summary>
    /// All partial sums of one tree aggregation (DP-FTRL) over <paramref name="steps"/> steps in which a contributor appears at most once:
    /// it is part of one node on each level.
    /// </summary>
    public static PrivacyEvent Tree(double noiseMultiplier, long steps)
    {
        if (steps < 1) throw Senseless($"A tree of {steps} steps has no nodes; there must be at least one step.");
        return new PrivacyEvent(noiseMultiplier, 1, BitOperations.Log2((ulong)steps) + 1).Validated();
    }

    /// <summary>Refuses what describes no release.</summary>
    public PrivacyEvent Validated()
    {
        if (!(NoiseMultiplier >= 0.01 && NoiseMultiplier <= 1e6))
            throw Senseless($"The noise multiplier is {Text(NoiseMultiplier)}; it must be between 0.01 (no privacy to speak of) and 1,000,000.");
        if (!(SampleRate > 0 && SampleRate <= 1))
            throw Senseless($"The sample rate is {Text(SampleRate)}; it is a probability: above 0, at most 1.");
        if (Count is < 1 or > MostReleases)
            throw Senseless(string.Create(CultureInfo.InvariantCulture, $"The number of releases is {Count:N0}; it must be between 1 and {MostReleases:N0}."));
        return this;
    }

    /// <summary>Equal mechanisms counted together; releases without sampling are one Gaussian, whose noise is their harmonic sum.</summary>
    internal static IReadOnlyList<PrivacyEvent> Merge(IEnumerable<PrivacyEvent> events)
    {
        var valid = events.Select(one => one.Validated()).ToArray();
        var sampled = valid.Where(one => one.SampleRate < 1)
            .GroupBy(one => (one.NoiseMultiplier, one.SampleRate))
            .Select(group => new PrivacyEvent(group.Key.NoiseMultiplier, group.Key.SampleRate, group.Sum(one => one.Count)))
            .OrderBy(one => one.NoiseMultiplier).ThenBy(one => one.SampleRate).ToList();
        var mean = GaussianMean(valid);
        if (mean > 0) sampled.Add(new PrivacyEvent(1 / mean, 1, 1));
        return sampled;
    }

    /// <summary>By how many standard deviations all releases without sampling together tell neighbours apart.</summary>
    internal static double GaussianMean(IEnumerable<PrivacyEvent> events) =>
        Math.Sqrt(events.Where(one => one.SampleRate == 1).Sum(one => one.Count / (one.NoiseMultiplier * one.NoiseMultiplier)));

    internal static void CheckDelta(double delta, double least)
    {
        if (!(delta >= least && delta < 1))
            throw Senseless($"Delta is {Text(delta)}; it is a probability, at least {Text(least)} here and below 1. Usual is below one over the number of contributors.");
    }

    internal static void CheckEpsilon(double epsilon)
    {
        if (!(epsilon > 0 && double.IsFinite(epsilon))) throw Senseless($"Epsilon is {Text(epsilon)}; it must be above 0 and finite.");
    }

    private static string Text(double value) => value.ToString(CultureInfo.InvariantCulture);

    private static SoraException Senseless(string message) => new(message, ExitCode.Usage);
}
