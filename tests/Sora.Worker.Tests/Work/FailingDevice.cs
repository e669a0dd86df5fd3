using Sora.Model.Training;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Worker.Work;

namespace Sora.Worker.Tests.Work;

/// <summary>
/// Real work on a device that fails: from a step on, once or always, a weight reads as NaN while its lanes are evaluated, and as
/// what it was when the step is exchanged.
/// </summary>
internal sealed class FailingDevice(IRunWork work, long fromStep, bool lasting) : IRunWork
{
    private bool _failed;

    public long HeldStep => work.HeldStep;

    public Machine Inspect() => work.Inspect();

    public Proof Prove(WorkerAssignment assignment, CancellationToken cancellationToken) => work.Prove(assignment, cancellationToken);

    public IReadOnlyList<StateRegion> StateRegions() => work.StateRegions();

    public void Restore(string checkpoint, long step) => work.Restore(checkpoint, step);

    public void TakeOver(long step, Action<IReadOnlyList<StateRegion>> fetch) => work.TakeOver(step, fetch);

    public WorkEnd Train(WorkerGeneration generation, IGradientExchange exchange, int rank, Func<bool> haltRequested, IWorkReports reports) =>
        work.Train(generation, new Failing(this, exchange), rank, haltRequested, reports);

    public void Save(long step, IWorkReports reports) => work.Save(step, reports);

    public void Dispose() => work.Dispose();

    /// <summary>It is asked before each micro-batch whether all is well, which is when the device fails.</summary>
    private sealed unsafe class Failing(FailingDevice device, IGradientExchange exchange) : IGradientExchange
    {
        private float? _weight;

        public LaneRange Lanes => exchange.Lanes;

        private ref float FirstWeight => ref *(float*)device.StateRegions()[0].Address;

        public void ThrowIfBroken()
        {
            exchange.ThrowIfBroken();
            if (_weight is not null || device.HeldStep < device.FromStep || (device._failed && !device.Lasting))
                return;
            (_weight, FirstWeight, device._failed) = (FirstWeight, float.NaN, true);
        }

        public StepTotals AllReduce(long step, ReadOnlySpan<SubtreeSum> subtrees, ReadOnlySpan<LaneTotals> totals, bool stopRequested, nint result, long length)
        {
            if (_weight is { } weight)
                (FirstWeight, _weight) = (weight, null);
            return exchange.AllReduce(step, subtrees, totals, stopRequested, result, length);
        }

        public StepTotals Gather(long step, ReadOnlySpan<LaneTotals> totals) => exchange.Gather(step, totals);

        public void Dispose() => exchange.Dispose();
    }

    private long FromStep => fromStep;

    private bool Lasting => lasting;
}
