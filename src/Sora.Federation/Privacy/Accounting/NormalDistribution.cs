namespace Sora.Federation.Privacy;

/// <summary>The standard normal distribution and two elementary functions, to full relative precision also far in the tails.</summary>
internal static class NormalDistribution
{
    private const double RootOfTwoPi = 2.5066282746310002;

    /// <summary>The density.</summary>
    public static double Density(double x) => Math.Exp(-0.5 * x * x) / RootOfTwoPi;

    /// <summary>The probability of more than <paramref name="x"/>.</summary>
    public static double Above(double x)
    {
        if (double.IsInfinity(x)) return x > 0 ? 0 : 1;
        return x >= 0 ? Density(x) * MillsRatio(x) : 1 - Density(x) * MillsRatio(-x);
    }

    /// <summary>The probabilities of less and of more than <paramref name="x"/>.</summary>
    public static (double Below, double Above) Tails(double x)
    {
        var tail = Above(Math.Abs(x));
        return x < 0 ? (tail, 1 - tail) : (1 - tail, tail);
    }

    /// <summary>The probability of more than <paramref name="x"/> over the density there, for x of at least 0.</summary>
    public static double MillsRatio(double x)
    {
        if (x < 2)
        {
            // Phi(x) - 1/2 = density * (x + x^3/3 + x^5/15 + ...), all terms of one sign.
            var (term, sum) = (x, x);
            for (var odd = 3; term > 1e-18 * sum; odd += 2) sum += term *= x * x / odd;
            return 0.5 / Density(x) - sum;
        }
        // Laplace's continued fraction, from its end.
        var fraction = 0.0;
        for (var k = (int)(14 + 320 / (x * x)); k > 0; k--) fraction = k / (x + fraction);
        return 1 / (x + fraction);
    }

    /// <summary>ln(1 + x) without the loss near 0 (<see cref="double.LogP1"/> does not avoid it).</summary>
    public static double LogOnePlus(double x)
    {
        var sum = 1 + x;
        // 1 + x is rounded; the quotient undoes what that did (Kahan).
        return sum == 1 ? x : double.IsInfinity(sum) ? sum : Math.Log(sum) * (x / (sum - 1));
    }

    /// <summary>exp(x) - 1 without the loss near 0.</summary>
    public static double ExpMinusOne(double x)
    {
        if (Math.Abs(x) > 1) return Math.Exp(x) - 1;
        var power = Math.Exp(x);
        return power == 1 ? x : (power - 1) * (x / Math.Log(power));
    }
}
