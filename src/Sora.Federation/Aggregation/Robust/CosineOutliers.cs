using Sora.Federation.Aggregation.Updates;

namespace Sora.Federation.Aggregation.Robust;

/// <summary>
/// Leaves out updates that point elsewhere than the others: cosine with the coordinate median of all updates below
/// <see cref="MinCosine"/>. Finds sign-flipped updates at any scale; holds as long as malicious sites are fewer than half.
/// Costs what the coordinate median costs, see <see cref="CoordinateRule"/>.
/// </summary>
/// <param name="MinCosine">In [-1, 1]; 0 asks for half a space.</param>
public sealed record CosineOutliers(double MinCosine) : IScreen
{
    /// <inheritdoc/>
    public bool NeedsAll => true;

    /// <inheritdoc/>
    public Screening Screen(IReadOnlyList<Contribution> updates)
    {
        if (updates.Count == 0)
            return new Screening([], []);
        var dots = new double[updates.Count];
        var medianSquares = 0.0;
        CoordinateRule.Median.Combine(updates, (_, median, runs) =>
        {
            var direction = median.Span;
            for (var i = 0; i < direction.Length; i++)
                medianSquares += direction[i] * direction[i];
            for (var site = 0; site < dots.Length; site++)
                for (var i = 0; i < direction.Length; i++)
                    dots[site] += direction[i] * runs[site][i];
        });
        var kept = new List<Contribution>();
        var rejected = new List<Rejected>();
        for (var site = 0; site < dots.Length; site++)
        {
            // An update of zeros, or a median of zeros, points nowhere: nothing speaks against it.
            var lengths = Math.Sqrt(medianSquares) * updates[site].Norm;
            var cosine = lengths > 0 ? dots[site] / lengths : 1;
            if (cosine >= MinCosine)
                kept.Add(updates[site]);
            else
                rejected.Add(new Rejected(updates[site].Update.Site, $"cosine {cosine:f4} with the median of {updates.Count} updates is below {MinCosine:g4}"));
        }
        return new Screening(kept, rejected);
    }
}
