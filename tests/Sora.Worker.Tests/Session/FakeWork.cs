using Sora.Model.Training;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Worker.Work;

namespace Sora.Worker.Tests.Session;

/// <summary>Work without tensors: each part can be replaced.</summary>
internal sealed class FakeWork : IRunWork
{
    public Func<Proof> OnProve { get; init; } = () => new Proof("canary", 4, TimeSpan.FromSeconds(60));

    public Func<long> OnRestore { get; init; } = () => 0;

    public Func<FakeWork, IGradientExchange, IWorkReports, WorkEnd> OnTrain { get; init; } = (_, exchange, reports) =>
    {
        Step(exchange, 0, stop: false);
        reports.Step(new StepResult(1, 2.5, 1, 0.1, 10, false, 0.1, 0.1, 0));
        reports.Checkpoint(1, "/checkpoints/1", "hash", TimeSpan.FromSeconds(1));
        return new WorkEnd(1, false, "hash", "/checkpoints/1");
    };

    /// <summary>Null until a stop is asked for; then whether with a checkpoint.</summary>
    public volatile object? Stop;

    public HashSet<int> Threads { get; } = [];

    public Machine Inspect() => new("cpu", 0, "2.10.0", "fake");

    public Proof Prove(WorkerAssignment assignment, CancellationToken cancellationToken) => Noted(OnProve);

    public long Restore(IWorkReports reports) => Noted(OnRestore);

    public WorkEnd Train(IGradientExchange exchange, bool writesCheckpoints, IWorkReports reports) => Noted(() => OnTrain(this, exchange, reports));

    public void RequestStop(bool checkpoint) => Stop = checkpoint;

    public void Dispose()
    {
    }

    /// <summary>One step over one lane.</summary>
    public static unsafe StepTotals Step(IGradientExchange exchange, long step, bool stop)
    {
        var gradient = stackalloc float[4];
        return exchange.AllReduce(step, [new SubtreeSum(new LaneRange(0, 1), (nint)gradient)], [new LaneTotals(0, 1, 1)], stop, (nint)gradient, 4);
    }

    private T Noted<T>(Func<T> work)
    {
        Threads.Add(Environment.CurrentManagedThreadId);
        return work();
    }
}
