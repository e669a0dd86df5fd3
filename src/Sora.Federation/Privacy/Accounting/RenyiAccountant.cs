namespace Sora.Federation.Privacy;

/// <summary>
/// Renyi differential privacy of the Poisson-subsampled Gaussian (Mironov, Talwar and Zhang 2019): orders add up over releases, and the
/// best order gives epsilon by the conversion of Balle et al. 2020 (Canonne, Kamath and Steinke 2020), which is tighter than Mironov's of 2017.
/// </summary>
public sealed class RenyiAccountant : PrivacyAccountant
{
    private readonly double[] _orders;

    /// <summary>An accountant over these orders, each above 1.</summary>
    public RenyiAccountant(IEnumerable<double>? orders = null) => _orders = orders?.ToArray() ?? [.. UsualOrders];

    /// <summary>1.1 to 10.9 by tenths and 12 to 63, which are Opacus', and some above for releases that cost little.</summary>
    public static IReadOnlyList<double> UsualOrders { get; } =
        [.. Enumerable.Range(1, 99).Select(tenth => 1 + tenth / 10.0), .. Enumerable.Range(12, 52).Select(order => (double)order), 80, 96, 128, 192, 256, 384, 512, 1024];

    /// <inheritdoc/>
    public override string Name => "rdp";

    /// <inheritdoc/>
    public override double LeastDelta => 1e-100;

    /// <summary>The Renyi divergence of one order, summed over all releases.</summary>
    public static double Divergence(IEnumerable<PrivacyEvent> events, double order) =>
        PrivacyEvent.Merge(events).Sum(one => one.Count * Divergence(new SubsampledGaussian(one.NoiseMultiplier, one.SampleRate), order));

    /// <summary>Epsilon and the order that gives it.</summary>
    public (double Epsilon, double Order) EpsilonAndOrder(IEnumerable<PrivacyEvent> events, double delta)
    {
        PrivacyEvent.CheckDelta(delta, LeastDelta);
        return Best(PrivacyEvent.Merge(events), delta);
    }

    private protected override double EpsilonOf(IReadOnlyList<PrivacyEvent> events, double delta) => Best(events, delta).Epsilon;

    private protected override double DeltaOf(IReadOnlyList<PrivacyEvent> events, double epsilon) => Divergences(events).Min(at =>
        Math.Min(1, Math.Exp((at.Order - 1) * (at.Divergence - epsilon + Math.Log(1 - 1 / at.Order)) - Math.Log(at.Order))));

    private (double Epsilon, double Order) Best(IReadOnlyList<PrivacyEvent> events, double delta)
    {
        var best = Divergences(events)
            .Select(at => (Epsilon: at.Divergence - (Math.Log(delta) + Math.Log(at.Order)) / (at.Order - 1) + Math.Log(1 - 1 / at.Order), at.Order))
            .MinBy(at => at.Epsilon);
        return (Math.Max(0, best.Epsilon), best.Order);
    }

    private IEnumerable<(double Order, double Divergence)> Divergences(IReadOnlyList<PrivacyEvent> events)
    {
        var mechanisms = events.Select(one => (one.Count, Release: new SubsampledGaussian(one.NoiseMultiplier, one.SampleRate))).ToArray();
        return _orders.Select(order => (order, mechanisms.Sum(one => one.Count * Divergence(one.Release, order))));
    }

    // Removing a contributor is the worse direction for every order (Mironov, Talwar and Zhang, theorem 5).
    private static double Divergence(SubsampledGaussian release, double order) =>
        Math.Max(0, release.Rate < 1 && order == Math.Floor(order) ? Binomial(release, (int)order) : release.LogMoment(order)) / (order - 1);

    // ln of sum_k C(order, k) (1-q)^(order-k) q^k exp(k(k-1) / 2s^2): exact for whole orders.
    private static double Binomial(SubsampledGaussian release, int order)
    {
        var terms = new double[order + 1];
        var choose = 0.0;
        for (var k = 0; k <= order; k++)
        {
            if (k > 0) choose += Math.Log((order - k + 1.0) / k);
            terms[k] = choose + (order - k) * NormalDistribution.LogOnePlus(-release.Rate) + k * Math.Log(release.Rate)
                + k * (k - 1.0) / (2 * release.Noise * release.Noise);
        }
        var largest = terms.Max();
        return largest + Math.Log(terms.Sum(term => Math.Exp(term - largest)));
    }
}
