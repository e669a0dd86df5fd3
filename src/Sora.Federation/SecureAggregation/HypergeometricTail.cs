namespace Sora.Federation.SecureAggregation;

/// <summary>Tails of the hypergeometric distribution, exact down to probabilities of 2^-60 and far below.</summary>
internal static class HypergeometricTail
{
    private static readonly double[] SmallLogFactorials = MakeSmallLogFactorials(32);

    /// <summary>
    /// The smallest x with P[X &lt;= x] at least <paramref name="probability"/>, where X counts the marked among
    /// <paramref name="drawn"/> of <paramref name="total"/> without replacement.
    /// </summary>
    public static int LowerQuantile(int total, int marked, int drawn, double probability)
    {
        var logProbability = Math.Log(probability);
        var low = Math.Max(0, marked + drawn - total);
        var high = Math.Min(marked, drawn);
        while (low < high)
        {
            var middle = low + (high - low) / 2;
            if (LogAtMost(total, marked, drawn, middle) >= logProbability)
                high = middle;
            else
                low = middle + 1;
        }
        return low;
    }

    /// <summary>ln P[X &lt;= x].</summary>
    public static double LogAtMost(int total, int marked, int drawn, int x)
    {
        var lowest = Math.Max(0, marked + drawn - total);
        if (x < lowest)
            return double.NegativeInfinity;
        if (x >= Math.Min(marked, drawn))
            return 0;
        // Relative to P[X = x], so that nothing underflows however far out the tail is.
        double term = 1, sum = 1;
        for (double k = x; k > lowest; k--)
        {
            var ratio = k * (total - marked - drawn + k) / ((marked - k + 1) * (drawn - k + 1));
            term *= ratio;
            sum += term;
            if (ratio < 1 && term < sum * 1e-17)
                break;
        }
        return LogBinomial(marked, x) + LogBinomial(total - marked, drawn - x) - LogBinomial(total, drawn) + Math.Log(sum);
    }

    /// <summary>ln n!</summary>
    public static double LogFactorial(int n)
    {
        if (n < SmallLogFactorials.Length)
            return SmallLogFactorials[n];
        // Stirling's series; the first term left out is below 1e-16 from n = 32 on.
        double x = n, inverse = 1 / x, square = inverse * inverse;
        var series = inverse * (1.0 / 12 - square * (1.0 / 360 - square * (1.0 / 1260 - square * (1.0 / 1680))));
        return x * Math.Log(x) - x + 0.5 * Math.Log(2 * Math.PI * x) + series;
    }

    private static double LogBinomial(int n, int k) => LogFactorial(n) - LogFactorial(k) - LogFactorial(n - k);

    private static double[] MakeSmallLogFactorials(int count)
    {
        var logs = new double[count];
        for (var n = 2; n < count; n++)
            logs[n] = logs[n - 1] + Math.Log(n);
        return logs;
    }
}
