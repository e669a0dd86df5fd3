using System.Numerics;

namespace Sora.Protocol.Generations;

/// <summary>
/// The canonical order in which lane gradients are summed: a binary tree over lane indices. A node of n lanes splits
/// after the largest power of two below n, so the left child is always a full aligned subtree and the tree of any lane
/// count is unique. Floating-point addition is commutative but not associative; fixing the tree fixes the bits.
/// </summary>
public static class LaneTree
{
    /// <summary>The two children of a node of at least two lanes.</summary>
    public static (LaneRange Left, LaneRange Right) Children(LaneRange node)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(node.Count, 2);
        var left = (int)BitOperations.RoundUpToPowerOf2((uint)node.Count) / 2;
        return (new LaneRange(node.First, left), new LaneRange(node.First + left, node.Count - left));
    }

    /// <summary>The fewest nodes of the tree over <paramref name="lanes"/> lanes that cover exactly <paramref name="range"/>, in lane order.</summary>
    public static IReadOnlyList<LaneRange> Cover(LaneRange range, int lanes)
    {
        var nodes = new List<LaneRange>();
        Visit(new LaneRange(0, lanes));
        return nodes;

        void Visit(LaneRange node)
        {
            if (node.First >= range.End || node.End <= range.First)
                return;
            if (node.First >= range.First && node.End <= range.End)
            {
                nodes.Add(node);
                return;
            }
            var (left, right) = Children(node);
            Visit(left);
            Visit(right);
        }
    }

    /// <summary>
    /// Folds values given for a cover of <paramref name="node"/> up to the node itself: <paramref name="leaf"/> is asked for
    /// each node of the cover, <paramref name="add"/> combines a left and a right child.
    /// </summary>
    public static T Fold<T>(LaneRange node, Func<LaneRange, (bool Found, T Value)> leaf, Func<T, T, T> add)
    {
        var (found, value) = leaf(node);
        if (found)
            return value;
        var (left, right) = Children(node);
        return add(Fold(left, leaf, add), Fold(right, leaf, add));
    }
}
