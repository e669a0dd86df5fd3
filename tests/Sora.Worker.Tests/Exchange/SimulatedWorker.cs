using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Worker.Exchange;

namespace Sora.Worker.Tests.Exchange;

/// <summary>What the trainer does around an exchange: lane gradients in, pre-summed subtrees out.</summary>
internal static unsafe class SimulatedWorker
{
    /// <summary>A lane's gradient: any function of its arguments whose values do not add up exactly.</summary>
    public static float[] Gradient(int lane, long step, int length)
    {
        var random = new Random(HashCode.Combine(lane, step, length));
        var values = new float[length];
        for (var i = 0; i < length; i++)
            values[i] = (float)((random.NextDouble() - 0.5) * Math.Pow(10, random.Next(-6, 6)));
        return values;
    }

    public static LaneTotals Totals(int lane, long step) => new(lane, Math.Sqrt(2 + lane + step), 100 + lane);

    /// <summary>The sum the exchange must give, computed in one place.</summary>
    public static float[] Reference(LaneRange node, long step, int length) =>
        LaneTree.Fold(node, n => n.Count == 1 ? (true, Gradient(n.First, step, length)) : (false, []), (left, right) => [.. left.Zip(right, (a, b) => a + b)]);

    public static double ReferenceLoss(int lanes, long step) =>
        LaneTree.Fold(new LaneRange(0, lanes), n => n.Count == 1 ? (true, Totals(n.First, step).LossSum) : (false, 0), (left, right) => left + right);

    public static (StepTotals Totals, float[] Sum) Step(MeshExchange exchange, int lanes, long step, int length, bool stop = false, bool inPlace = false)
    {
        var nodes = LaneTree.Cover(exchange.Lanes, lanes);
        var buffers = nodes.Select(_ => new NativeFloats(length)).ToList();
        using var separate = new NativeFloats(length);
        var subtrees = new SubtreeSum[nodes.Count];
        for (var i = 0; i < subtrees.Length; i++)
        {
            Reference(nodes[i], step, length).CopyTo(new Span<float>((void*)buffers[i].Address, length));
            subtrees[i] = new SubtreeSum(nodes[i], buffers[i].Address);
        }
        var result = inPlace && subtrees.Length == 1 ? buffers[0].Address : separate.Address;
        var totals = Enumerable.Range(exchange.Lanes.First, exchange.Lanes.Count).Select(lane => Totals(lane, step)).ToArray();
        try
        {
            var ended = exchange.AllReduce(step, subtrees, totals, stop, result, length);
            return (ended, new Span<float>((void*)result, length).ToArray());
        }
        finally
        {
            buffers.ForEach(buffer => buffer.Dispose());
        }
    }
}
