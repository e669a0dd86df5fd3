namespace Sora.Protocol.Generations;

/// <summary>Lanes <c>[First, First + Count)</c>.</summary>
/// <param name="First">First lane.</param>
/// <param name="Count">How many, at least one.</param>
public readonly record struct LaneRange(int First, int Count)
{
    /// <summary>One past the last lane.</summary>
    public int End => First + Count;

    /// <summary>
    /// Deals <paramref name="lanes"/> in contiguous ranges so that the slowest finishes as early as possible: each gets one, and
    /// every further lane goes to whoever would have it done first.
    /// </summary>
    /// <param name="secondsPerLane">What a lane costs each worker, in rank order.</param>
    /// <param name="lanes">Lanes of the job, at least as many as workers.</param>
    public static IReadOnlyList<LaneRange> ByPace(IReadOnlyList<double> secondsPerLane, int lanes)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(secondsPerLane.Count, lanes);
        var counts = secondsPerLane.Select(_ => 1).ToArray();
        for (var dealt = counts.Length; dealt < lanes; dealt++)
            counts[Enumerable.Range(0, counts.Length).MinBy(rank => (counts[rank] + 1) * secondsPerLane[rank])]++;
        var first = 0;
        return [.. counts.Select(count => new LaneRange((first += count) - count, count))];
    }

    /// <summary>Deals <paramref name="lanes"/> to <paramref name="workers"/> in contiguous ranges whose sizes differ by at most one.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There are more workers than lanes, or none.</exception>
    public static LaneRange OfWorker(int rank, int workers, int lanes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(workers, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(workers, lanes);
        ArgumentOutOfRangeException.ThrowIfNegative(rank);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(rank, workers);
        var first = (int)((long)rank * lanes / workers);
        return new LaneRange(first, (int)((long)(rank + 1) * lanes / workers) - first);
    }
}
