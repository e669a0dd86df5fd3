namespace Sora.Protocol.Generations;

/// <summary>Lanes <c>[First, First + Count)</c>.</summary>
/// <param name="First">First lane.</param>
/// <param name="Count">How many, at least one.</param>
public readonly record struct LaneRange(int First, int Count)
{
    /// <summary>One past the last lane.</summary>
    public int End => First + Count;

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
