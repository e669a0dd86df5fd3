using Sora.Federation.Aggregation.Updates;

namespace Sora.Federation.Aggregation.Robust;

/// <summary>
/// Aggregates each parameter by itself from the sorted values of all sites (Yin et al., 2018), without weights, since a weight is
/// only a claim. With fewer malicious sites than the rule cuts off at each end, every parameter stays between the least and the
/// greatest honest value. Needs all updates at once, in files: memory is a run of values of each,
/// together at most 64 MiB up to 65,536 sites; time is n log n a parameter.
/// </summary>
public sealed record CoordinateRule
{
    private readonly double _beta;

    private CoordinateRule(string name, double beta) => (Name, _beta) = (name, beta);

    /// <summary>The middle value; the mean of the two middle ones of an even count.</summary>
    public static CoordinateRule Median { get; } = new("median", 0.5);

    /// <summary>The mean of what is left when the <c>floor(beta n)</c> least and as many of the greatest values are left out.</summary>
    /// <param name="beta">In [0, 0.5).</param>
    public static CoordinateRule TrimmedMean(double beta) => new("trimmed mean", beta);

    /// <summary>What the rule is called.</summary>
    public string Name { get; }

    /// <summary>How many values are cut off at each end of <paramref name="sites"/>.</summary>
    public int Cut(int sites) => Math.Min((sites - 1) / 2, (int)Math.Floor(_beta * sites));

    /// <summary>Goes over all parameters run by run: <paramref name="use"/> gets the first one of a run, the result, and the values of each site.</summary>
    internal void Combine(IReadOnlyList<Contribution> updates, Action<long, Memory<double>, float[][]> use)
    {
        var length = updates[0].Update.Length;
        var size = SiteUpdate.RunOf(updates.Count, length);
        var runs = new float[updates.Count][];
        for (var site = 0; site < runs.Length; site++)
            runs[site] = new float[size];
        var combined = new double[size];
        var column = new float[updates.Count];
        for (var first = 0L; first < length; first += size)
        {
            var count = (int)Math.Min(size, length - first);
            for (var site = 0; site < runs.Length; site++)
                updates[site].Read(first, runs[site].AsSpan(0, count));
            for (var i = 0; i < count; i++)
            {
                for (var site = 0; site < runs.Length; site++)
                    column[site] = runs[site][i];
                combined[i] = Middle(column);
            }
            use(first, combined.AsMemory(0, count), runs);
        }
    }

    private double Middle(float[] column)
    {
        Array.Sort(column);
        var cut = Cut(column.Length);
        var sum = 0.0;
        for (var i = cut; i < column.Length - cut; i++)
            sum += column[i];
        return sum / (column.Length - 2 * cut);
    }
}
