using Sora.Protocol.Generations;

namespace Sora.Protocol.Tests.Simulation;

/// <summary>
/// Stands in for a model: the weights are a hash of everything that was ever summed into them, in which order and on which weights. A
/// lane left out, taken twice or computed on other weights, a step left out or taken twice, all show at the next commit.
/// </summary>
internal sealed class StandInTrainer(ulong seed, bool computesOddly)
{
    /// <summary>Steps committed; -1: no state of the run.</summary>
    public long Step { get; private set; } = -1;

    public ulong Weights { get; private set; }

    public static ulong Initial(ulong seed) => Mix(seed, 0x5eed);

    /// <summary>The weights after each step of a run nothing happens to.</summary>
    public static ulong[] Undisturbed(ulong seed, int lanes, long steps)
    {
        var weights = new ulong[steps + 1];
        weights[0] = Initial(seed);
        for (var step = 0; step < steps; step++)
            weights[step + 1] = Commit(weights[step], step, Enumerable.Range(0, lanes).Select(lane => (lane, Gradient(seed, weights[step], step, lane))));
        return weights;
    }

    public void TakeUp(long step, ulong weights) => (Step, Weights) = (step, weights);

    public IReadOnlyList<(int Lane, ulong Gradient)> Compute(LaneRange lanes) =>
        [.. Enumerable.Range(lanes.First, lanes.Count).Select(lane => (lane, Gradient(seed, Weights, Step, lane) ^ (computesOddly ? 1ul : 0)))];

    public void Commit(IEnumerable<(int Lane, ulong Gradient)> gradients) => TakeUp(Step + 1, Commit(Weights, Step, gradients));

    private static ulong Commit(ulong weights, long step, IEnumerable<(int Lane, ulong Gradient)> gradients) =>
        gradients.OrderBy(gradient => gradient.Lane).Aggregate(Mix(weights, (ulong)step), (sum, gradient) => Mix(Mix(sum, (ulong)gradient.Lane), gradient.Gradient));

    private static ulong Gradient(ulong seed, ulong weights, long step, int lane) => Mix(Mix(Mix(seed, weights), (ulong)step), (ulong)lane);

    private static ulong Mix(ulong one, ulong other)
    {
        var mixed = (one ^ (other + 0x9e3779b97f4a7c15)) * 0xbf58476d1ce4e5b9;
        mixed = (mixed ^ (mixed >> 29)) * 0x94d049bb133111eb;
        return mixed ^ (mixed >> 32);
    }
}
