using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;

namespace Sora.Model.Training;

/// <summary>A subtree of the lane tree whose gradient is summed.</summary>
/// <param name="Node">Which.</param>
/// <param name="Sum">The sum of its lanes' gradients.</param>
/// <param name="Totals">Its lanes' totals, in lane order.</param>
internal sealed record FinishedSubtree(LaneRange Node, GradientBuffer Sum, IReadOnlyList<LaneTotals> Totals);

/// <summary>
/// What a step has finished so far. A lane's gradient is a pure function of the step and the weights, so when the step breaks
/// off because a peer is gone, what is finished is kept: evaluated once more with the lanes dealt otherwise, the step takes from
/// it what it needs, and only the rest is computed.
/// </summary>
internal sealed class FinishedSubtrees(GradientBufferPool pool)
{
    private readonly List<FinishedSubtree> _finished = [];
    private readonly List<FinishedSubtree> _kept = [];
    private long _step = -1;

    /// <summary>A step begins: of what was kept only this step's subtrees of these lanes are of use.</summary>
    public void Begin(long step, LaneRange lanes)
    {
        _finished.Clear();
        Forget(subtree => _step != step || subtree.Node.First < lanes.First || subtree.Node.End > lanes.End);
        _step = step;
    }

    /// <summary>A subtree that was finished before the step broke off; null: it is to be computed.</summary>
    public FinishedSubtree? Take(LaneRange node)
    {
        var index = _kept.FindIndex(subtree => subtree.Node == node);
        if (index < 0)
            return null;
        var taken = _kept[index];
        _kept.RemoveAt(index);
        pool.LendAgain(taken.Sum);
        return taken;
    }

    /// <summary>A subtree is finished; it takes the place of those it is made of.</summary>
    public void Add(FinishedSubtree subtree)
    {
        _finished.RemoveAll(part => part.Node.First >= subtree.Node.First && part.Node.End <= subtree.Node.End);
        _finished.Add(subtree);
    }

    /// <summary>The step breaks off. What is not finite is not kept: it is to be looked at anew.</summary>
    public void Keep()
    {
        foreach (var subtree in _finished)
        {
            if (!subtree.Totals.All(lane => double.IsFinite(lane.LossSum)) || !float.IsFinite(subtree.Sum.Flat.norm().item<float>()))
                continue;
            pool.Hold(subtree.Sum);
            _kept.Add(subtree);
        }
        _finished.Clear();
    }

    /// <summary>The weights are not those of the step any more.</summary>
    public void Forget() => Forget(_ => true);

    private void Forget(Predicate<FinishedSubtree> useless)
    {
        foreach (var subtree in _kept.FindAll(useless))
            pool.Return(subtree.Sum);
        _kept.RemoveAll(useless);
    }
}
