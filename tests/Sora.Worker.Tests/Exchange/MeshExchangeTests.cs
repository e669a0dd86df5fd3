using CsCheck;
using Sora.Protocol.Exchange;

namespace Sora.Worker.Tests.Exchange;

public class MeshExchangeTests
{
    public static TheoryData<int, int, int, bool> Shapes => new()
    {
        { 1, 1, 1000, false }, { 1, 5, 300_000, false }, { 2, 2, 300_001, false }, { 2, 4, 300_001, true }, { 3, 8, 700_003, false },
        { 3, 3, 7, true }, { 4, 7, 3, false }, { 5, 13, 40_000, false }, { 2, 5, 0, false }, { 5, 5, 1, true },
    };

    [Theory, MemberData(nameof(Shapes))]
    public async Task The_sum_has_the_bits_of_the_canonical_fold_whoever_owns_the_lanes(int workers, int lanes, int length, bool tcp)
    {
        using var mesh = new Mesh(workers, lanes, tcp);
        var exchanges = await mesh.ConnectAllAsync(length);
        const int steps = 3;

        var all = await Mesh.OnThreads(workers, rank =>
        {
            using var exchange = exchanges[rank];
            return Enumerable.Range(0, steps).Select(step => SimulatedWorker.Step(exchange, lanes, step, length, inPlace: step % 2 == 0)).ToArray();
        });

        for (var step = 0; step < steps; step++)
        {
            var expected = SimulatedWorker.Reference(new(0, lanes), step, length);
            var loss = SimulatedWorker.ReferenceLoss(lanes, step);
            Assert.All(all, worker =>
            {
                Assert.True(expected.AsSpan().SequenceEqual(worker[step].Sum));
                Assert.Equal(new StepTotals(loss, lanes * 100 + lanes * (lanes - 1) / 2, false), worker[step].Totals);
            });
        }
    }

    [Fact]
    public void Any_number_of_workers_gives_the_same_bits()
    {
        Gen.Select(Gen.Int[1, 5], Gen.Int[0, 11], Gen.Int[0, 3000], Gen.Int[0, 1000]).Sample((workers, more, length, step) =>
        {
            var lanes = workers + more;
            using var mesh = new Mesh(workers, lanes);
            var exchanges = mesh.ConnectAllAsync(length).GetAwaiter().GetResult();
            var all = Mesh.OnThreads(workers, rank =>
            {
                using var exchange = exchanges[rank];
                return SimulatedWorker.Step(exchange, lanes, step, length);
            }).GetAwaiter().GetResult();
            var expected = SimulatedWorker.Reference(new(0, lanes), step, length);
            Assert.All(all, worker => Assert.True(expected.AsSpan().SequenceEqual(worker.Sum)));
        }, iter: 30, threads: 1);
    }

    [Fact]
    public async Task A_stop_asked_of_one_worker_reaches_all_after_the_same_step()
    {
        using var mesh = new Mesh(3, 4);
        var exchanges = await mesh.ConnectAllAsync(10);
        var stops = await Mesh.OnThreads(3, rank =>
        {
            using var exchange = exchanges[rank];
            return Enumerable.Range(0, 3).Select(step => SimulatedWorker.Step(exchange, 4, step, 10, stop: rank == 1 && step == 1).Totals.StopRequested).ToArray();
        });
        Assert.All(stops, worker => Assert.Equal([false, true, false], worker));
    }

    [Fact]
    public async Task Evaluations_between_steps_gather_totals_in_the_same_order()
    {
        using var mesh = new Mesh(3, 5);
        var exchanges = await mesh.ConnectAllAsync(100);
        var gathered = await Mesh.OnThreads(3, rank =>
        {
            using var exchange = exchanges[rank];
            var totals = Enumerable.Range(exchange.Lanes.First, exchange.Lanes.Count).Select(lane => SimulatedWorker.Totals(lane, 7)).ToArray();
            SimulatedWorker.Step(exchange, 5, 6, 100);
            var first = exchange.Gather(7, totals);
            var second = exchange.Gather(7, totals);
            SimulatedWorker.Step(exchange, 5, 7, 100);
            return (first, second);
        });
        Assert.All(gathered, worker => Assert.Equal(SimulatedWorker.ReferenceLoss(5, 7), worker.first.LossSum));
        Assert.All(gathered, worker => Assert.Equal(worker.first, worker.second));
    }

    [Fact]
    public async Task A_worker_of_another_step_breaks_the_exchange_by_name()
    {
        using var mesh = new Mesh(2, 2);
        var exchanges = await mesh.ConnectAllAsync(100);
        var errors = await Mesh.OnThreads(2, rank =>
        {
            using var exchange = exchanges[rank];
            return Assert.Throws<ExchangeBrokenException>(() => SimulatedWorker.Step(exchange, 2, 5 + rank, 100)).Message;
        });
        Assert.Contains(errors, message => message.Contains("step 5") && message.Contains("step 6") && message.Contains("worker-"));
    }
}
