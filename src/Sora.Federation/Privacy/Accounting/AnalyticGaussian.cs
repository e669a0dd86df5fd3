namespace Sora.Federation.Privacy;

/// <summary>
/// Exact (epsilon, delta) of telling N(0, 1) from N(<c>mean</c>, 1): Gaussian releases without sampling compose to one of these
/// (Balle and Wang 2018; Dong, Roth and Su 2019).
/// </summary>
internal static class AnalyticGaussian
{
    public static double Delta(double mean, double epsilon)
    {
        var near = epsilon / mean - mean / 2;
        // exp(epsilon) * density(near + mean) is density(near): nothing overflows.
        return Math.Max(0, NormalDistribution.Above(near) - NormalDistribution.Density(near) * NormalDistribution.MillsRatio(near + mean));
    }

    public static double Epsilon(double mean, double delta) => Solve(epsilon => Delta(mean, epsilon), delta);

    /// <summary>The smallest epsilon at which a falling function is at most <paramref name="delta"/>.</summary>
    public static double Solve(Func<double, double> deltaAt, double delta)
    {
        if (deltaAt(0) <= delta) return 0;
        var (low, high) = (0.0, 1.0);
        while (deltaAt(high) > delta) (low, high) = (high, 2 * high);
        while (true)
        {
            var middle = (low + high) / 2;
            if (middle <= low || middle >= high) return high;
            if (deltaAt(middle) > delta) low = middle;
            else high = middle;
        }
    }
}
