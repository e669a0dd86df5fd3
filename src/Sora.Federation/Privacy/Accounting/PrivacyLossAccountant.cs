namespace Sora.Federation.Privacy;

/// <summary>
/// The tight accountant: privacy loss distributions composed by Fourier transform, for both directions of the neighbour relation, since
/// neither is known to dominate the other under composition (Lebeda et al. 2024). A single release, and releases without sampling, are computed in closed form.
/// </summary>
/// <param name="tolerance">By how much epsilon may lie above the true value, about; it never lies below. Smaller takes longer.</param>
public sealed class PrivacyLossAccountant(double tolerance = 1e-4) : PrivacyAccountant
{
    /// <inheritdoc/>
    public override string Name => "prv";

    /// <inheritdoc/>
    public override double LeastDelta => 1e-20;

    private protected override double EpsilonOf(IReadOnlyList<PrivacyEvent> events, double delta)
    {
        if (IsGaussian(events)) return AnalyticGaussian.Epsilon(1 / events[0].NoiseMultiplier, delta);
        if (IsSingle(events, out var release)) return AnalyticGaussian.Solve(at => Math.Max(LossTails.Delta(release, false, at), LossTails.Delta(release, true, at)), delta);
        var (removing, adding) = (Composed(events, adding: false), Composed(events, adding: true));
        var epsilon = Compose(removing);
        // The direction that is usually the better one by far needs no exact answer.
        return LossWindow.Chernoff(adding, delta, tolerance).Epsilon <= epsilon ? epsilon : Math.Max(epsilon, Compose(adding));

        double Compose(ComposedReleases releases) => PrivacyLossDistribution.Compose(releases, LossWindow.ForDelta(releases, delta, tolerance)).Epsilon(delta);
    }

    private protected override double DeltaOf(IReadOnlyList<PrivacyEvent> events, double epsilon)
    {
        if (IsGaussian(events)) return AnalyticGaussian.Delta(1 / events[0].NoiseMultiplier, epsilon);
        if (IsSingle(events, out var release)) return Math.Max(LossTails.Delta(release, false, epsilon), LossTails.Delta(release, true, epsilon));
        return Math.Max(Compose(Composed(events, adding: false)), Compose(Composed(events, adding: true)));

        double Compose(ComposedReleases releases) => PrivacyLossDistribution.Compose(releases, LossWindow.ForEpsilon(releases, epsilon, tolerance)).Delta(epsilon);
    }

    private static bool IsGaussian(IReadOnlyList<PrivacyEvent> events) => events is [{ SampleRate: 1 }];

    private static bool IsSingle(IReadOnlyList<PrivacyEvent> events, out SubsampledGaussian release)
    {
        release = new SubsampledGaussian(events[0].NoiseMultiplier, events[0].SampleRate);
        return events is [{ Count: 1 }];
    }

    private static ComposedReleases Composed(IReadOnlyList<PrivacyEvent> events, bool adding) =>
        new([.. events.Select(one => (new SubsampledGaussian(one.NoiseMultiplier, one.SampleRate), one.Count))], adding);
}
