namespace Sora.Federation.Privacy;

/// <summary>How much of P and of Q lies below and above a privacy loss ln(P/Q) of one release.</summary>
internal readonly record struct LossTails(double PBelow, double PAbove, double QBelow, double QAbove)
{
    /// <summary>From here on exp(loss) is not a double.</summary>
    public const double Overflow = 700;

    public static LossTails At(SubsampledGaussian release, bool adding, double loss)
    {
        var outcome = release.Outcome(adding ? -loss : loss);
        var without = NormalDistribution.Tails(outcome / release.Noise);
        var shifted = NormalDistribution.Tails((outcome - 1) / release.Noise);
        var (below, above) = (Mix(without.Below, shifted.Below), Mix(without.Above, shifted.Above));
        // The loss grows with the outcome when the contributor is removed, and falls when it is added.
        return adding ? new LossTails(without.Above, without.Below, above, below) : new LossTails(below, above, without.Below, without.Above);

        double Mix(double first, double second) => (1 - release.Rate) * first + release.Rate * second;
    }

    /// <summary>Delta of a single release at an epsilon, exactly; beyond what a power can hold, a bound of it.</summary>
    public static double Delta(SubsampledGaussian release, bool adding, double epsilon)
    {
        var tails = At(release, adding, epsilon);
        return epsilon < Overflow ? Math.Max(0, tails.PAbove - Math.Exp(epsilon) * tails.QAbove) : tails.PAbove;
    }
}
