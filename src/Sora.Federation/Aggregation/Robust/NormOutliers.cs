using Sora.Federation.Aggregation.Updates;

namespace Sora.Federation.Aggregation.Robust;

/// <summary>
/// Leaves out updates much longer than the others: norm above <see cref="MaxNormRatio"/> times the median norm. Holds as long as
/// malicious sites are fewer than half. Finds scaled updates, not sign-flipped ones.
/// </summary>
/// <param name="MaxNormRatio">How many times the median norm is still taken.</param>
public sealed record NormOutliers(double MaxNormRatio) : IScreen
{
    /// <inheritdoc/>
    public bool NeedsAll => true;

    /// <inheritdoc/>
    public Screening Screen(IReadOnlyList<Contribution> updates)
    {
        if (updates.Count == 0)
            return new Screening([], []);
        // The lower median of an even count, so that half of the sites plus none cannot raise it.
        var median = updates.Select(update => update.Norm).Order().ElementAt((updates.Count - 1) / 2);
        var limit = MaxNormRatio * median;
        return new Screening([.. updates.Where(update => update.Norm <= limit)],
            [.. updates.Where(update => update.Norm > limit).Select(update => new Rejected(update.Update.Site,
                $"norm {update.Norm:g4} is above {MaxNormRatio:g4} times the median norm {median:g4} of {updates.Count} updates"))]);
    }
}
