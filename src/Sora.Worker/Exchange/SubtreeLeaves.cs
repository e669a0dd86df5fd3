using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;

namespace Sora.Worker.Exchange;

/// <summary>
/// The subtree sums of all workers, the leaves of every fold: this worker's own, wherever the trainer keeps them, and those
/// that peers send, for which there is memory here, one chunk each.
/// </summary>
internal sealed unsafe class SubtreeLeaves : IDisposable
{
    private readonly ChunkLayout _layout;
    private readonly int _rank;
    private readonly IReadOnlyList<Leaf> _all;
    private readonly LaneRange[] _own;
    private readonly nint[] _addresses;
    private readonly FoldPlan _fold;
    private readonly NativeFloats _received;

    /// <summary>A subtree sum that takes part in every fold.</summary>
    /// <param name="Node">Which.</param>
    /// <param name="Rank">Who sums it.</param>
    /// <param name="Partial">Its index among the received ones; -1: this worker's own.</param>
    private readonly record struct Leaf(LaneRange Node, int Rank, int Partial);

    public SubtreeLeaves(ExchangeGroup group, ChunkLayout layout)
    {
        (_layout, _rank) = (layout, group.Rank);
        var partials = 0;
        _all = [.. group.Members.SelectMany((member, rank) => LaneTree.Cover(member.Lanes, group.Lanes).Select(node =>
            new Leaf(node, rank, rank == group.Rank ? -1 : partials++)))];
        Partials = partials;
        _own = [.. _all.Where(leaf => leaf.Partial < 0).Select(leaf => leaf.Node)];
        _addresses = new nint[_all.Count];
        _fold = new FoldPlan([.. _all.Select(leaf => leaf.Node)], group.Lanes, i => _all[i].Partial >= 0);
        _received = new NativeFloats(partials * layout.ChunkLength(group.Rank));
    }

    /// <summary>Subtree sums that peers send.</summary>
    public int Partials { get; }

    /// <summary>The received sums that come from a rank.</summary>
    public IEnumerable<int> PartialsOf(int rank) => _all.Where(leaf => leaf.Rank == rank && leaf.Partial >= 0).Select(leaf => leaf.Partial);

    /// <summary>Index among the received sums of the one that a rank sends for a node; -1: it sends none.</summary>
    public int PartialOf(int rank, LaneRange node)
    {
        foreach (var leaf in _all)
        {
            if (leaf.Node == node && leaf.Rank == rank)
                return leaf.Partial;
        }
        return -1;
    }

    /// <summary>Where a received sum's element of the flat gradient lies.</summary>
    public nint AddressOf(int partial, long offset) =>
        _received.Address + (nint)((partial * _layout.ChunkLength(_rank) + offset - _layout.ChunkStart(_rank)) * sizeof(float));

    /// <exception cref="ArgumentException">These are not this worker's maximal subtrees.</exception>
    public void Check(ReadOnlySpan<SubtreeSum> own)
    {
        if (own.Length != _own.Length)
            throw new ArgumentException($"This worker's lanes have {_own.Length} maximal subtrees, not {own.Length}.", nameof(own));
        for (var i = 0; i < own.Length; i++)
        {
            if (own[i].Node != _own[i])
                throw new ArgumentException($"Subtree {i} is {own[i].Node} instead of {_own[i]}.", nameof(own));
        }
    }

    /// <summary>Takes one frame of the chunk this worker owns up the lane tree.</summary>
    public void Fold(int frame, ReadOnlySpan<SubtreeSum> own, nint result)
    {
        var (offset, length) = _layout.Frame(_rank, frame);
        var next = 0;
        for (var i = 0; i < _addresses.Length; i++)
            _addresses[i] = _all[i].Partial < 0 ? ChunkLayout.At(own[next++].Values, offset) : AddressOf(_all[i].Partial, offset);
        _fold.Run(_addresses, (float*)ChunkLayout.At(result, offset), length);
    }

    public void Dispose() => _received.Dispose();
}
