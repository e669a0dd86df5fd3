using Sora.Model.Training;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Worker.Work;

namespace Sora.Worker.Tests.Session;

/// <summary>Work without tensors: a step is an exchange of a gradient of four values. Each part can be replaced.</summary>
internal sealed class FakeWork : IRunWork
{
    public Func<Proof> OnProve { get; init; } = () => new Proof("canary", 4, TimeSpan.FromDays(1));

    public Action OnRestore { get; init; } = () => { };

    /// <summary>After each step; the argument counts them.</summary>
    public Action<long> AfterStep { get; set; } = _ => { };

    public Action<long, IWorkReports> OnSave { get; init; } = (step, reports) => reports.Checkpoint(step, $"/checkpoints/{step}", "hash", TimeSpan.FromSeconds(1));

    public long LastStep { get; init; } = long.MaxValue;

    public long HeldStep { get; private set; } = -1;

    public HashSet<int> Threads { get; } = [];

    /// <summary>Lanes of each generation.</summary>
    public List<LaneRange> Lanes { get; } = [];

    public Machine Inspect() => new("cpu", 0, "2.10.0", "fake");

    public Proof Prove(WorkerAssignment assignment, CancellationToken cancellationToken) => Noted(OnProve);

    public IReadOnlyList<StateRegion> StateRegions() => [];

    public void Restore(string checkpoint, long step) => Noted(() =>
    {
        OnRestore();
        return HeldStep = step;
    });

    public void TakeOver(long step, Action<IReadOnlyList<StateRegion>> fetch)
    {
        fetch([]);
        HeldStep = step;
    }

    public WorkEnd Train(WorkerGeneration generation, IGradientExchange exchange, int rank, Func<bool> haltRequested, IWorkReports reports) => Noted(() =>
    {
        Lanes.Add(exchange.Lanes);
        while (HeldStep < LastStep)
        {
            var totals = Step(exchange, HeldStep, haltRequested());
            HeldStep++;
            reports.Committed(HeldStep, 0.5, 0.25);
            reports.Step(new StepResult(HeldStep, 2.5, 1, 0.1, 10, totals.StopRequested, 0.1, 0.1, 0));
            AfterStep(HeldStep);
            if (totals.StopRequested && HeldStep < LastStep)
                return new WorkEnd(HeldStep, Halted: true, "");
        }
        if (rank == 0)
            reports.Checkpoint(HeldStep, $"/checkpoints/{HeldStep}", "hash", TimeSpan.FromSeconds(1));
        return new WorkEnd(HeldStep, Halted: false, "hash");
    });

    public void Save(long step, IWorkReports reports) => Noted(() =>
    {
        OnSave(step, reports);
        return 0;
    });

    public void Dispose()
    {
    }

    private static unsafe StepTotals Step(IGradientExchange exchange, long step, bool stop)
    {
        var gradient = stackalloc float[4];
        var nodes = LaneTree.Cover(exchange.Lanes, exchange.Lanes.End);
        var totals = Enumerable.Range(exchange.Lanes.First, exchange.Lanes.Count).Select(lane => new LaneTotals(lane, 1, 1)).ToArray();
        return exchange.AllReduce(step, [.. nodes.Select(node => new SubtreeSum(node, (nint)gradient))], totals, stop, (nint)gradient, 4);
    }

    private T Noted<T>(Func<T> work)
    {
        Threads.Add(Environment.CurrentManagedThreadId);
        return work();
    }
}
