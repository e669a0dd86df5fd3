using CsCheck;
using Sora.Protocol.Generations;

namespace Sora.Protocol.Tests.Generations;

public class LaneTreeTests
{
    private static readonly Gen<(int Workers, int Lanes)> Shapes = from lanes in Gen.Int[1, 300] from workers in Gen.Int[1, lanes] select (workers, lanes);

    [Fact]
    public void Lanes_are_dealt_whole_in_order_and_evenly()
    {
        Shapes.Sample((workers, lanes) =>
        {
            var ranges = Enumerable.Range(0, workers).Select(rank => LaneRange.OfWorker(rank, workers, lanes)).ToList();
            Assert.Equal(0, ranges[0].First);
            Assert.Equal(lanes, ranges[^1].End);
            Assert.All(ranges.Zip(ranges.Skip(1)), pair => Assert.Equal(pair.First.End, pair.Second.First));
            Assert.InRange(ranges.Max(range => range.Count) - ranges.Min(range => range.Count), 0, 1);
        });
    }

    [Fact]
    public void The_workers_covers_are_exactly_the_lanes_in_order()
    {
        Shapes.Sample((workers, lanes) =>
        {
            var covered = Enumerable.Range(0, workers)
                .SelectMany(rank => LaneTree.Cover(LaneRange.OfWorker(rank, workers, lanes), lanes))
                .SelectMany(node => Enumerable.Range(node.First, node.Count));
            Assert.Equal(Enumerable.Range(0, lanes), covered);
        });
    }

    [Fact]
    public void Folding_covers_gives_the_bits_of_folding_lanes()
    {
        Gen.Select(Shapes, Gen.Int).Sample((shape, seed) =>
        {
            var (workers, lanes) = shape;
            var random = new Random(seed);
            var values = Enumerable.Range(0, lanes).Select(_ => (float)((random.NextDouble() - 0.5) * Math.Pow(10, random.Next(-8, 8)))).ToArray();
            var sums = Enumerable.Range(0, workers)
                .SelectMany(rank => LaneTree.Cover(LaneRange.OfWorker(rank, workers, lanes), lanes))
                .ToDictionary(node => node, Sum);
            var folded = LaneTree.Fold(new LaneRange(0, lanes), node => sums.TryGetValue(node, out var sum) ? (true, sum) : (false, 0), Add);
            Assert.Equal(Sum(new LaneRange(0, lanes)), folded);

            float Sum(LaneRange node) => LaneTree.Fold(node, n => n.Count == 1 ? (true, values[n.First]) : (false, 0), Add);
            static float Add(float left, float right) => left + right;
        });
    }

    [Fact]
    public void The_tree_of_five_lanes_is_the_documented_one()
    {
        var sum = LaneTree.Fold(new LaneRange(0, 5), n => n.Count == 1 ? (true, $"{n.First}") : (false, ""), (left, right) => $"({left}+{right})");
        Assert.Equal("(((0+1)+(2+3))+4)", sum);
    }

    [Fact]
    public void More_workers_than_lanes_is_an_error() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => LaneRange.OfWorker(0, 3, 2));
}
