namespace Sora.Federation.Privacy;

/// <summary>
/// One release seen along the line on which neighbours differ: N(0, s^2) without the contributor, (1-q) N(0, s^2) + q N(1, s^2) with it.
/// The likelihood ratio of the second to the first at an outcome x is 1 - q + q exp((2x - 1) / 2s^2), which grows with x.
/// </summary>
internal sealed class SubsampledGaussian(double noise, double rate)
{
    // Where exp(-x^2/2s^2) has become 1e-22 of its largest.
    private const double Reach = 10;

    // The trapezoid rule is exact for analytic functions but for exp(-2 pi d / step), d the distance of the nearest singularity from the
    // line: pi s^2 for the ratio's root. The Gaussian itself asks for a step well below s.
    private readonly double _step = Math.Min(noise / 8, noise * noise / 2);
    private readonly List<double> _logRatios = []; // from the left end of the reach on

    public double Noise => noise;

    public double Rate => rate;

    /// <summary>ln of the likelihood ratio at an outcome.</summary>
    public double LogRatio(double outcome)
    {
        var exponent = (outcome - 0.5) / (noise * noise);
        if (rate == 1) return exponent;
        return exponent < 30
            ? NormalDistribution.LogOnePlus(rate * NormalDistribution.ExpMinusOne(exponent))
            : exponent + Math.Log(rate + (1 - rate) * Math.Exp(-exponent));
    }

    /// <summary>The outcome with this ln ratio; minus infinity where even the smallest ratio, 1 - q, is above it.</summary>
    public double Outcome(double logRatio)
    {
        if (rate == 1) return 0.5 + noise * noise * logRatio;
        if (logRatio > 30) return 0.5 + noise * noise * (logRatio - Math.Log(rate) + NormalDistribution.LogOnePlus((rate - 1) * Math.Exp(-logRatio)));
        var share = NormalDistribution.ExpMinusOne(logRatio) / rate;
        return share <= -1 ? double.NegativeInfinity : 0.5 + noise * noise * NormalDistribution.LogOnePlus(share);
    }

    /// <summary>ln of the mean of ratio^<paramref name="order"/> without the contributor; any real order.</summary>
    /// <param name="order">The order.</param>
    /// <param name="cut">After how many standard deviations, on the side where the loss is largest, outcomes are left out.</param>
    public double LogMoment(double order, double cut = double.PositiveInfinity)
    {
        if (rate == 1) return order * (order - 1) / (2 * noise * noise);
        if (order is 0 or 1) return 0;
        var reach = (int)Math.Ceiling(Reach * noise / _step);
        if (order > 0)
        {
            // The integrand's peaks lie between 0 and the order.
            var last = (int)Math.Ceiling(Math.Min(order + Reach * noise, 1 + cut * noise) / _step);
            while (_logRatios.Count <= reach + last) _logRatios.Add(LogRatio((_logRatios.Count - reach) * _step));
            return LogIntegral(order, -reach, last, _step, i => _logRatios[i + reach]);
        }
        // One peak, left of 0, and the narrower the further left it lies.
        var variance = noise * noise;
        var peak = Math.Min(-order, variance * Math.Log(1 - order * rate / ((1 - rate) * variance)));
        var step = Math.Min(_step, noise / (2 * Math.Sqrt(1 + peak)));
        return LogIntegral(order, -(int)Math.Ceiling(Math.Min(peak + Reach * noise, cut * noise) / step), (int)Math.Ceiling(Reach * noise / step), step, i => LogRatio(i * step));
    }

    private double LogIntegral(double order, int first, int last, double step, Func<int, double> logRatio)
    {
        var exponents = new double[last - first + 1];
        var scale = step * step / (2 * noise * noise);
        for (var i = first; i <= last; i++) exponents[i - first] = order * logRatio(i) - scale * i * (double)i;
        var largest = exponents.Max();
        var sum = 0.0;
        foreach (var exponent in exponents)
        {
            if (exponent > largest - 60) sum += Math.Exp(exponent - largest);
        }
        return largest + Math.Log(sum * step / (noise * Math.Sqrt(2 * Math.PI)));
    }
}
