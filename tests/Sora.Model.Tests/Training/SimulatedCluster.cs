using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;

namespace Sora.Model.Tests.Training;

/// <summary>
/// Several workers in one process. libtorch's random generator is global, so they take turns: a worker runs until it needs
/// the others, then the next one runs. The exchange itself is the plain definition: fold what was handed in up the lane tree.
/// </summary>
internal sealed class SimulatedCluster(int workers, int lanes)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<int, Round> _rounds = []; // by how many came before
    private readonly AutoResetEvent[] _turns = [.. Enumerable.Range(0, workers).Select(_ => new AutoResetEvent(false))];
    private readonly bool[] _ended = new bool[workers];
    private Exception? _failure;

    /// <summary>Runs a worker's work for every rank and returns what each gave.</summary>
    public T[] Run<T>(Func<IGradientExchange, T> work)
    {
        var results = new T[workers];
        var threads = Enumerable.Range(0, workers).Select(rank => new Thread(() =>
        {
            try
            {
                _turns[rank].WaitOne();
                results[rank] = work(new Exchange(this, rank));
            }
            catch (Exception error)
            {
                _failure ??= error;
            }
            _ended[rank] = true;
            Next(rank);
        })).ToList();
        threads.ForEach(thread => thread.Start());
        _turns[0].Set();
        threads.ForEach(thread => thread.Join());
        return _failure is null ? results : throw new InvalidOperationException("A worker failed.", _failure);
    }

    private void Next(int rank)
    {
        for (var i = 1; i <= workers; i++)
        {
            if (!_ended[(rank + i) % workers])
            {
                _turns[(rank + i) % workers].Set();
                return;
            }
        }
    }

    private Round Meet(int rank, int key, Action<Round> handIn)
    {
        Round round;
        lock (_gate)
        {
            if (!_rounds.TryGetValue(key, out round!))
                _rounds[key] = round = new Round();
            handIn(round);
            round.Arrived++;
        }
        while (round.Arrived < workers)
        {
            if (_failure is not null)
                throw new ExchangeBrokenException("Another worker failed.");
            Next(rank);
            _turns[rank].WaitOne();
        }
        return round;
    }

    private sealed class Round
    {
        public Dictionary<LaneRange, float[]> Sums { get; } = [];
        public List<LaneTotals> Totals { get; } = [];
        public bool Stop { get; set; }
        public int Arrived { get; set; }

        public StepTotals StepTotals(LaneRange all) => new(
            LaneTree.Fold(all, node => node.Count == 1 ? (true, Totals.Single(lane => lane.Lane == node.First).LossSum) : (false, 0), (left, right) => left + right),
            Totals.Sum(lane => lane.TargetTokens),
            Stop);
    }

    private sealed class Exchange(SimulatedCluster cluster, int rank) : IGradientExchange
    {
        private readonly LaneRange _all = new(0, cluster.Lanes);
        private int _met;

        public LaneRange Lanes { get; } = LaneRange.OfWorker(rank, cluster.Workers, cluster.Lanes);

        public unsafe StepTotals AllReduce(long step, ReadOnlySpan<SubtreeSum> subtrees, ReadOnlySpan<LaneTotals> totals, bool stopRequested, nint result, long length)
        {
            var copies = subtrees.ToArray().ToDictionary(sum => sum.Node, sum => new Span<float>((void*)sum.Values, (int)length).ToArray());
            var lanes = totals.ToArray();
            var round = cluster.Meet(rank, _met++, round =>
            {
                foreach (var (node, values) in copies)
                    round.Sums.Add(node, values);
                round.Totals.AddRange(lanes);
                round.Stop |= stopRequested;
            });
            LaneTree.Fold(_all, node => (round.Sums.TryGetValue(node, out var values), values!), Add).CopyTo(new Span<float>((void*)result, (int)length));
            return round.StepTotals(_all);
        }

        public StepTotals Gather(long step, ReadOnlySpan<LaneTotals> totals)
        {
            var lanes = totals.ToArray();
            return cluster.Meet(rank, _met++, round => round.Totals.AddRange(lanes)).StepTotals(_all);
        }

        public void ThrowIfBroken()
        {
        }

        public void Dispose()
        {
        }

        private static float[] Add(float[] left, float[] right) => [.. left.Zip(right, (a, b) => a + b)];
    }

    private int Workers => workers;

    private int Lanes => lanes;
}
