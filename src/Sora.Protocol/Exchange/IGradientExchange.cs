using Sora.Protocol.Generations;

namespace Sora.Protocol.Exchange;

/// <summary>One lane's share of a step's bookkeeping.</summary>
/// <param name="Lane">Lane index.</param>
/// <param name="LossSum">Sum of the cross-entropy over the lane's target tokens, in nats.</param>
/// <param name="TargetTokens">Target tokens the lane saw.</param>
public readonly record struct LaneTotals(int Lane, double LossSum, long TargetTokens);

/// <summary>An aligned subtree of the lane tree, already summed by the worker that owns all its lanes.</summary>
/// <param name="Node">Which subtree.</param>
/// <param name="Values">Address of its flat fp32 gradient in host memory, valid until the exchange returns.</param>
public readonly record struct SubtreeSum(LaneRange Node, nint Values);

/// <summary>What every worker knows after a step's exchange; identical on all of them.</summary>
/// <param name="LossSum">Sum over all lanes in the canonical tree order, in nats.</param>
/// <param name="TargetTokens">Target tokens of all lanes.</param>
/// <param name="StopRequested">Whether any worker asked to stop after this step.</param>
public readonly record struct StepTotals(double LossSum, long TargetTokens, bool StopRequested);

/// <summary>
/// Sums one step's lane gradients over the workers of a generation, in the canonical order of <see cref="LaneTree"/>,
/// so that the result does not depend on who owns which lanes.
/// </summary>
public interface IGradientExchange : IDisposable
{
    /// <summary>The lanes this worker owns.</summary>
    LaneRange Lanes { get; }

    /// <summary>
    /// Blocks the training thread until the sum of all lanes lies in <paramref name="result"/>.
    /// </summary>
    /// <param name="step">The step being evaluated.</param>
    /// <param name="subtrees">The maximal aligned subtrees of <see cref="Lanes"/>, in lane order.</param>
    /// <param name="totals">One entry an owned lane, in lane order.</param>
    /// <param name="stopRequested">This worker was asked to stop after this step.</param>
    /// <param name="result">Address of the flat fp32 gradient that receives the sum; may equal the only subtree's address.</param>
    /// <param name="length">Elements of each flat gradient.</param>
    /// <exception cref="ExchangeBrokenException">A peer is gone, silent for too long, or of another generation.</exception>
    StepTotals AllReduce(long step, ReadOnlySpan<SubtreeSum> subtrees, ReadOnlySpan<LaneTotals> totals, bool stopRequested, nint result, long length);

    /// <summary>
    /// Sums bookkeeping alone, for an evaluation after <paramref name="step"/>: same order, same guarantees, no gradient.
    /// </summary>
    /// <exception cref="ExchangeBrokenException">As for <see cref="AllReduce"/>.</exception>
    StepTotals Gather(long step, ReadOnlySpan<LaneTotals> totals);

    /// <summary>
    /// Throws when the next collective cannot succeed any more, because a peer is gone or this worker has left: called between
    /// micro-batches, so that a doomed step is given up early. Cheap as long as all is well.
    /// </summary>
    /// <exception cref="ExchangeBrokenException">As for <see cref="AllReduce"/>.</exception>
    void ThrowIfBroken();
}
