using System.Runtime.Intrinsics;
using Sora.Federation.Aggregation.Updates;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Aggregation.Robust;

/// <summary>
/// Krum and Multi-Krum (Blanchard et al., 2017): an update's score is the sum of its squared distances to its n - f - 2 nearest
/// others; the <see cref="Select"/> lowest scores are kept (1 is Krum). Proven against f malicious sites for n >= 2 f + 3, so
/// fewer updates are refused. Costs n^2 / 2 distances, each over the whole model, read once; memory is a run of
/// values of each (32 KB) and the distances (8 n^2 bytes).
/// </summary>
/// <param name="NumMaliciousNodes">f: how many malicious sites are reckoned with.</param>
/// <param name="Select">How many updates are kept.</param>
public sealed record Krum(int NumMaliciousNodes, int Select = 1) : IScreen
{
    /// <inheritdoc/>
    public bool NeedsAll => true;

    /// <summary>The fewest updates it can choose among.</summary>
    public int LeastUpdates => 2 * NumMaliciousNodes + 3;

    /// <inheritdoc/>
    public Screening Screen(IReadOnlyList<Contribution> updates)
    {
        if (updates.Count < LeastUpdates)
            throw new SoraException($"Krum against {NumMaliciousNodes} malicious sites needs {LeastUpdates} updates, here are {updates.Count}; "
                + "ask more sites, wait for more of them, or lower byzantine_sites.", ExitCode.Failure);
        var scores = Scores(SquaredDistances(updates), NumMaliciousNodes);
        // Ties go to the site whose name comes first: the order of arrival must not matter.
        var kept = Enumerable.Range(0, scores.Length).OrderBy(site => scores[site]).ThenBy(site => site).Take(Select).ToHashSet();
        var worst = kept.Max(site => scores[site]);
        return new Screening([.. updates.Where((_, site) => kept.Contains(site))],
            [.. updates.Select((update, site) => (update, site)).Where(pair => !kept.Contains(pair.site)).Select(pair => new Rejected(pair.update.Update.Site,
                $"Krum score {scores[pair.site]:g4}, the {kept.Count} kept of {updates.Count} have at most {worst:g4}"))]);
    }

    internal static double[] Scores(double[,] squaredDistances, int malicious)
    {
        var count = squaredDistances.GetLength(0);
        var neighbours = Math.Max(1, count - malicious - 2);
        var scores = new double[count];
        for (var site = 0; site < count; site++)
        {
            var others = Enumerable.Range(0, count).Where(other => other != site).Select(other => squaredDistances[site, other]).Order();
            scores[site] = others.Take(neighbours).Sum();
        }
        return scores;
    }

    internal static double[,] SquaredDistances(IReadOnlyList<Contribution> updates)
    {
        var (count, length) = (updates.Count, updates[0].Update.Length);
        var distances = new double[count, count];
        // Shorter runs than elsewhere: all pairs of them should find each other in the cache.
        var size = SiteUpdate.RunOf(count, length, 1 << 13);
        var runs = new float[count][];
        for (var site = 0; site < count; site++)
            runs[site] = new float[size];
        for (var first = 0L; first < length; first += size)
        {
            var run = (int)Math.Min(size, length - first);
            for (var site = 0; site < count; site++)
                updates[site].Read(first, runs[site].AsSpan(0, run));
            for (var a = 0; a < count; a++)
                for (var b = a + 1; b < count; b++)
                    distances[b, a] = distances[a, b] += SquaredDistance(runs[a].AsSpan(0, run), runs[b].AsSpan(0, run));
        }
        return distances;
    }

    /// <summary>Always four partial sums, whatever the processor has, so that the bits are the same everywhere.</summary>
    private static double SquaredDistance(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        var sums = Vector256<double>.Zero;
        var i = 0;
        for (; i + 4 <= a.Length; i += 4)
        {
            var difference = Vector256.Create((double)a[i], a[i + 1], a[i + 2], a[i + 3]) - Vector256.Create((double)b[i], b[i + 1], b[i + 2], b[i + 3]);
            sums += difference * difference;
        }
        var sum = sums[0] + sums[1] + sums[2] + sums[3];
        for (; i < a.Length; i++)
            sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        return sum;
    }
}
