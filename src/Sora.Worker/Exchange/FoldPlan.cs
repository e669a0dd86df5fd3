using System.Numerics;
using Sora.Protocol.Generations;

namespace Sora.Worker.Exchange;

/// <summary>
/// The additions that take the subtree sums of all workers to the root of the lane tree, in canonical order, worked out
/// once: the inner loop then runs over plain addresses. Partial results overwrite received subtree sums, never this worker's own.
/// </summary>
internal sealed unsafe class FoldPlan
{
    // A block of every operand stays in the first-level cache while all additions go over it.
    private const int BlockLength = 2048;
    private const int Result = -1;
    private readonly (int Left, int Right, int Target)[] _additions;

    /// <param name="leaves">The subtree sums of all workers, in lane order; together they cover the tree.</param>
    /// <param name="lanes">Lanes of the tree.</param>
    /// <param name="received">Whether a leaf was received, and may be overwritten.</param>
    public FoldPlan(IReadOnlyList<LaneRange> leaves, int lanes, Func<int, bool> received)
    {
        var index = leaves.Select((leaf, i) => (leaf, i)).ToDictionary(pair => pair.leaf, pair => pair.i);
        var additions = new List<(int Left, int Right, int Target)>();
        LaneTree.Fold(
            new LaneRange(0, lanes),
            node => index.TryGetValue(node, out var i) ? (true, i) : (false, 0),
            (left, right) =>
            {
                // Two siblings of one worker would have been one leaf, so one of them was received.
                var target = received(left) ? left : right;
                additions.Add((left, right, target));
                return target;
            });
        if (additions.Count > 0)
            additions[^1] = additions[^1] with { Target = Result };
        _additions = [.. additions];
    }

    /// <summary>Sums <paramref name="length"/> elements; <paramref name="result"/> may be one of the leaves.</summary>
    public void Run(ReadOnlySpan<nint> leaves, float* result, int length)
    {
        if (_additions.Length == 0)
        {
            if ((float*)leaves[0] != result)
                new ReadOnlySpan<float>((float*)leaves[0], length).CopyTo(new Span<float>(result, length));
            return;
        }
        for (var start = 0; start < length; start += BlockLength)
        {
            var count = Math.Min(BlockLength, length - start);
            foreach (var (left, right, target) in _additions)
                Add((float*)leaves[left] + start, (float*)leaves[right] + start, (target == Result ? result : (float*)leaves[target]) + start, count);
        }
    }

    private static void Add(float* left, float* right, float* target, int count)
    {
        var i = 0;
        for (; i <= count - Vector<float>.Count; i += Vector<float>.Count)
            Vector.Store(Vector.Load(left + i) + Vector.Load(right + i), target + i);
        for (; i < count; i++)
            target[i] = left[i] + right[i];
    }
}
