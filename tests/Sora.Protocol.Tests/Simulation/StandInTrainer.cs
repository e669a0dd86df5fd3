using Sora.Protocol.Generations;

namespace Sora.Protocol.Tests.Simulation;

/// <summary>How a device computes something that is not finite.</summary>
internal enum DeviceFault
{
    None,
    /// <summary>Once, in one of its lanes.</summary>
    InOneLane,
    /// <summary>Once, in the sum that everybody has.</summary>
    AtTheCommit,
    /// <summary>From now on, always, as long as the process lives.</summary>
    Lasting,
}

/// <summary>
/// Stands in for a model: the weights are a hash of everything that was ever summed into them, in which order and on which weights. A
/// lane left out, taken twice or computed on other weights, a step left out or taken twice, all show at the next commit.
/// </summary>
internal sealed class StandInTrainer(ulong seed, bool computesOddly)
{
    /// <summary>Stands for a gradient that is not finite.</summary>
    public const ulong NotFinite = ulong.MaxValue;

    /// <summary>What is wrong with the device it computes on.</summary>
    public DeviceFault Fault { get; private set; }

    /// <summary>Something was wrong with it at some time.</summary>
    public bool HasFailed { get; private set; }

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

    public void Break(DeviceFault fault) => (Fault, HasFailed) = (fault, true);

    public IReadOnlyList<(int Lane, ulong Gradient)> Compute(LaneRange lanes)
    {
        var failing = Fault == DeviceFault.Lasting ? lanes.Count : Fault == DeviceFault.InOneLane ? 1 : 0;
        if (Fault == DeviceFault.InOneLane)
            Fault = DeviceFault.None;
        return [.. Enumerable.Range(lanes.First, lanes.Count).Select(lane => (lane, lane < lanes.First + failing ? NotFinite : Gradient(seed, Weights, Step, lane) ^ (computesOddly ? 1ul : 0)))];
    }

    /// <summary>Whether it finds the step finite: rightly so, unless its device has failed.</summary>
    public bool Accepts(IEnumerable<(int Lane, ulong Gradient)> gradients)
    {
        if (Fault != DeviceFault.AtTheCommit)
            return gradients.All(gradient => gradient.Gradient != NotFinite);
        Fault = DeviceFault.None;
        return false;
    }

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
