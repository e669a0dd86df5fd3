using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;

namespace Sora.Model.Training;

/// <summary>The exchange of a worker that owns every lane: its one subtree is the whole tree, so nothing has to move.</summary>
public sealed class LocalExchange(int lanes) : IGradientExchange
{
    /// <inheritdoc/>
    public LaneRange Lanes { get; } = new(0, lanes);

    /// <inheritdoc/>
    public unsafe StepTotals AllReduce(long step, ReadOnlySpan<SubtreeSum> subtrees, ReadOnlySpan<LaneTotals> totals, bool stopRequested, nint result, long length)
    {
        if (subtrees.Length != 1 || subtrees[0].Node != Lanes)
            throw new ArgumentException($"The sum of all {Lanes.Count} lanes is needed.", nameof(subtrees));
        if (result != subtrees[0].Values)
            Buffer.MemoryCopy((void*)subtrees[0].Values, (void*)result, length * sizeof(float), length * sizeof(float));
        return Sum(totals, stopRequested);
    }

    /// <inheritdoc/>
    public StepTotals Gather(long step, ReadOnlySpan<LaneTotals> totals) => Sum(totals, stopRequested: false);

    /// <inheritdoc/>
    public void ThrowIfBroken()
    {
        // There is no peer that could be lost.
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }

    private StepTotals Sum(ReadOnlySpan<LaneTotals> totals, bool stopRequested)
    {
        var byLane = totals.ToArray();
        var loss = LaneTree.Fold(Lanes, node => (node.Count == 1, byLane[node.First].LossSum), (left, right) => left + right);
        return new StepTotals(loss, byLane.Sum(lane => lane.TargetTokens), stopRequested);
    }
}
