using System.Numerics;

namespace Sora.Federation.Privacy;

/// <summary>
/// Releases of several kinds and how often each; and which of the two neighbours the data are. Outcomes more than <paramref name="Cut"/>
/// standard deviations out are left out (and counted as lost): they never happen, but would rule every large moment.
/// </summary>
internal sealed record ComposedReleases(IReadOnlyList<(SubsampledGaussian Release, long Count)> Releases, bool Adding, double Cut = double.PositiveInfinity)
{
    public long Count => Releases.Sum(one => one.Count);

    /// <summary>ln of the mean of exp(<paramref name="t"/> * sum of all privacy losses).</summary>
    public double LogMoment(double t) => Releases.Sum(one => one.Count * one.Release.LogMoment(Adding ? -t : 1 + t, Cut));

    /// <summary>The stretch of losses of a single release.</summary>
    public double WidestLoss => Releases.Max(one => one.Release.LogRatio(1 + Cut * one.Release.Noise) - one.Release.LogRatio(-Cut * one.Release.Noise));

    /// <summary>The same releases, cut off such that at most this probability is lost.</summary>
    public ComposedReleases CutAt(double lost) => this with { Cut = Math.Sqrt(2 * Math.Log(Count / lost)) };
}

/// <summary>
/// The stretch of the privacy loss on which a composition is computed, and how finely. Masses are weighted by exp(tilt * loss) there, so that
/// the losses that decide delta are the likely ones: rounding in the transform is then relative to delta and not to 1.
/// </summary>
/// <param name="Tilt">The weight's exponent; the order of the Chernoff bound at the epsilon looked for.</param>
/// <param name="Lowest">Index of the lowest grid point.</param>
/// <param name="Size">Number of grid points, a power of two.</param>
/// <param name="Spacing">Distance of the grid points; a loss is index * spacing.</param>
/// <param name="Beyond">A bound of the probability that the composed loss lies above the window.</param>
/// <param name="Cut">Standard deviations after which the tails of a single release are cut off (and counted as lost).</param>
internal sealed record LossWindow(double Tilt, long Lowest, int Size, double Spacing, double Beyond, double Cut)
{
    private const int LeastSize = 1 << 10, LargestSize = 1 << 22;
    // The share of the tilted mass that may lie outside on either side. It comes back at the other end, since the transform is cyclic, and
    // then counts too much: without the tilt it would weigh less there. What lies above the window counts as delta besides.
    private const double Outside = 1e-7;
    // The share of delta that single releases' cut-off tails may make up.
    private const double Unseen = 1e-6;
    private const double Ratio = 1.15;

    /// <summary>The window for the epsilon at this delta.</summary>
    public static LossWindow ForDelta(ComposedReleases releases, double delta, double tolerance)
    {
        var cut = releases.CutAt(Unseen * delta);
        return Around(cut, Chernoff(cut, delta, tolerance).Tilt, tolerance);
    }

    /// <summary>
    /// Chernoff's bound of epsilon and its order. ln delta is at most LogMoment(t) - t epsilon, hence epsilon at most (LogMoment(t) + ln 1/delta) / t.
    /// </summary>
    public static (double Tilt, double Epsilon) Chernoff(ComposedReleases releases, double delta, double tolerance)
    {
        var (tilt, best) = (1e-3, double.PositiveInfinity);
        for (var t = tilt; ; t *= Ratio)
        {
            var epsilon = (releases.LogMoment(t) - Math.Log(delta)) / t;
            if (!(epsilon < 0.999 * best)) return (tilt, best);
            (tilt, best) = (t, epsilon);
            if (epsilon < tolerance) return (tilt, best);
        }
    }

    /// <summary>The window for the delta at this epsilon.</summary>
    public static LossWindow ForEpsilon(ComposedReleases releases, double epsilon, double tolerance)
    {
        // Delta may lie far under its Chernoff bound.
        var cut = releases.CutAt(1e-3 * Unseen * Math.Exp(Chernoff(releases).LogDelta));
        return Around(cut, Chernoff(cut).Tilt, tolerance);

        (double Tilt, double LogDelta) Chernoff(ComposedReleases some)
        {
            var (tilt, best) = (1e-3, double.PositiveInfinity);
            for (var t = tilt; t < 1e6; t *= Ratio)
            {
                var logDelta = Math.Min(0, some.LogMoment(t) - t * epsilon);
                if (logDelta > best || logDelta < -600) break;
                (tilt, best) = (t, logDelta);
            }
            return (tilt, best);
        }
    }

    private static LossWindow Around(ComposedReleases releases, double tilt, double tolerance)
    {
        // Rounding a loss to its neighbours on the grid adds spacing^2 / 6 of variance on average and keeps the mean of exp(-loss), so that
        // epsilon moves by about count * (tilt + 1) * spacing^2 / 12.
        var spacing = Math.Sqrt(12 * tolerance / (releases.Count * (tilt + 1)));
        var lowest = Lower(releases, tilt);
        var highest = Upper(releases, tilt, spacing);
        var wanted = Math.Max(LeastSize, (highest - lowest) / spacing + 4);
        var size = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Min(wanted, LargestSize));
        if (wanted > size)
        {
            spacing = 1.25 * (highest - lowest) / size;
            highest = Upper(releases, tilt, spacing);
        }
        // No more points for a single release either.
        highest = Math.Max(highest, lowest + releases.WidestLoss * size / LargestSize);
        spacing = (highest - lowest) / (size - 4);
        return new LossWindow(tilt, (long)Math.Floor(lowest / spacing), size, spacing, MassAbove(releases, tilt, spacing, highest), releases.Cut);
    }

    // Chernoff for the tilted losses: P(loss > x) <= exp(LogMoment(u) - LogMoment(tilt) - (u - tilt) x). The chord's slope grows with u, so that
    // nothing better follows once it is above the best.
    private static double Upper(ComposedReleases releases, double tilt, double spacing)
    {
        var best = double.PositiveInfinity;
        var here = releases.LogMoment(tilt);
        for (var over = tilt / 32; over < 1e9; over *= Ratio)
        {
            var slope = (LogMomentOnGrid(releases, tilt + over, spacing) - here) / over;
            var bound = slope - Math.Log(Outside) / over;
            if (!(slope < best)) break;
            best = Math.Min(best, bound);
        }
        return best;
    }

    // Chernoff for the losses themselves, with the spacing that it has become: P(loss > x) <= exp(LogMoment(u) - u x) for every u.
    private static double MassAbove(ComposedReleases releases, double tilt, double spacing, double highest)
    {
        var best = LogMomentOnGrid(releases, tilt, spacing) - tilt * highest;
        for (var over = tilt / 32; over < 1e9; over *= Ratio)
        {
            var bound = LogMomentOnGrid(releases, tilt + over, spacing) - (tilt + over) * highest;
            if (!(bound < best)) break;
            best = bound;
        }
        return Math.Exp(best);
    }

    // Rounding to the grid adds at most u (u + 1) spacing^2 / 8 a release, but for terms of higher order, which the exponential covers.
    private static double LogMomentOnGrid(ComposedReleases releases, double u, double spacing) =>
        releases.LogMoment(u) + releases.Count * u * (u + 1) * spacing * spacing / 8 * Math.Exp((u + 1) * spacing);

    private static double Lower(ComposedReleases releases, double tilt)
    {
        var best = double.NegativeInfinity;
        var here = releases.LogMoment(tilt);
        for (var under = tilt / 32; under < 1e9; under *= Ratio)
        {
            var slope = (here - releases.LogMoment(tilt - under)) / under;
            if (!(slope > best)) break;
            best = Math.Max(best, slope + Math.Log(Outside) / under);
        }
        return best;
    }
}
