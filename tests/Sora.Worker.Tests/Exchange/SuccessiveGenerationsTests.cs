using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Wire;
using Sora.Worker.Exchange;
using static Sora.Worker.Tests.Exchange.Mesh;

namespace Sora.Worker.Tests.Exchange;

public class SuccessiveGenerationsTests
{
    private const int KeptForLater = 2102;

    [Fact]
    public async Task Who_dials_for_a_later_generation_waits_until_the_acceptor_is_there()
    {
        using var mesh = new Mesh(2, 2);
        using var over = new CancellationTokenSource();
        var kept = new LogWatch(KeptForLater);
        var old = mesh.ConnectAsync(0, 10, logger: kept, cancellation: over.Token);
        var early = mesh.ConnectAsync(1, 10, mesh.Group(1, generation: 3));
        await kept.Logged;
        await over.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => old);

        // Generation 2 passes by as well before the one that was dialled for comes.
        using var overAgain = new CancellationTokenSource();
        var keptAgain = new LogWatch(KeptForLater);
        var between = mesh.ConnectAsync(0, 10, mesh.Group(0, generation: 2), logger: keptAgain, cancellation: overAgain.Token);
        await keptAgain.Logged;
        await overAgain.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => between);

        Assert.False(early.IsCompleted);
        await Compute([await mesh.ConnectAsync(0, 10, mesh.Group(0, generation: 3)), await early]);
    }

    [Fact]
    public async Task Who_dials_for_a_later_generation_does_not_keep_the_present_one_from_connecting()
    {
        using var mesh = new Mesh(2, 2);
        var kept = new LogWatch(KeptForLater);
        var first = mesh.ConnectAsync(0, 10, logger: kept);
        var early = mesh.ConnectAsync(1, 10, mesh.Group(1, generation: 2));
        await kept.Logged;
        await Compute([await mesh.ConnectAsync(1, 10), await first]);
        await Compute([await mesh.ConnectAsync(0, 10, mesh.Group(0, generation: 2)), await early]);
    }

    /// <summary>
    /// Twenty generations of some of three workers, each worker as fast as it can, over one listener each; in some a
    /// connection to each is cut somewhere, some during the handshake. Where none is, all must succeed; where one is, all must end.
    /// </summary>
    [Theory, InlineData(1), InlineData(2), InlineData(3)]
    public async Task Generations_in_quick_succession_break_only_where_a_connection_is_cut(int seed)
    {
        const int workers = 3, lanes = 4, length = 5000, steps = 3;
        var random = new Random(seed);
        var plans = Enumerable.Range(0, 20).Select(i => new Plan(
            i + 1,
            [.. Enumerable.Range(0, workers).Where(_ => random.Next(4) > 0).DefaultIfEmpty(random.Next(workers))],
            random.Next(5) < 2 ? random.Next(random.Next(2) == 0 ? 1000 : 120_000) : long.MaxValue)).ToList();
        var folder = Directory.CreateTempSubdirectory("sora-");
        using var mesh = new Mesh(workers, lanes);
        var relays = mesh.Listeners.Select((listener, worker) =>
            new Relay(Path.Combine(folder.FullName, $"{worker}"), listener.Endpoints[0], plans.ToDictionary(plan => plan.Generation, plan => plan.BytesUntilCut))).ToList();

        await Task.WhenAll(Enumerable.Range(0, workers).Select(RunWorker));

        relays.ForEach(relay => relay.Dispose());
        folder.Delete(recursive: true);

        async Task RunWorker(int worker)
        {
            foreach (var plan in plans.Where(plan => plan.Workers.Contains(worker)))
            {
                var members = plan.Workers.Select((member, rank) =>
                    new ExchangeMember($"worker-{member}", LaneRange.OfWorker(rank, plan.Workers.Count, lanes), [relays[member].Endpoint])).ToList();
                var identity = new ExchangeIdentity("run", plan.Generation, members.Count, plan.Workers.IndexOf(worker), new byte[32]);
                try
                {
                    using var exchange = await mesh.ConnectAsync(worker, length, new ExchangeGroup(identity, members), cancellation: plan.BrokenOff.Token);
                    var sums = await OnThread(() => Enumerable.Range(0, steps).Select(step => SimulatedWorker.Step(exchange, lanes, step, length).Sum).ToArray());
                    for (var step = 0; step < steps; step++)
                        Assert.True(SimulatedWorker.Reference(new(0, lanes), step, length).AsSpan().SequenceEqual(sums[step]));
                }
                catch (Exception e) when (e is ExchangeBrokenException or OperationCanceledException && plan.BytesUntilCut < long.MaxValue)
                {
                    Assert.DoesNotContain("within", e.Message);
                    Assert.DoesNotContain("nothing moved", e.Message);
                    // What a coordinator does when it hears of it.
                    await plan.BrokenOff.CancelAsync();
                }
            }
        }
    }

    private sealed record Plan(long Generation, List<int> Workers, long BytesUntilCut)
    {
        public CancellationTokenSource BrokenOff { get; } = new();
    }

    private static Task Compute(MeshExchange[] exchanges) => OnThreads(exchanges.Length, i =>
    {
        using var exchange = exchanges[i];
        return SimulatedWorker.Step(exchange, 2, 0, 10).Sum;
    });
}
