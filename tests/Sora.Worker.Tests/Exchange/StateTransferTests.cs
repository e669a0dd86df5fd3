using CsCheck;
using Microsoft.Extensions.Time.Testing;
using Sora.Protocol.Exchange;
using Sora.Protocol.Jobs;
using Sora.Protocol.Wire;
using Sora.Worker.Exchange;
using static Sora.Worker.Tests.Exchange.Mesh;

namespace Sora.Worker.Tests.Exchange;

public class StateTransferTests
{
    private static readonly Gen<int> RegionBytes =
        Gen.Frequency((2, Gen.Const(0)), (2, Gen.Const(1)), (4, Gen.Int[2, 5000]), (1, Gen.Int[500_000, 2_500_000]), (1, Gen.Const(StateRegions.FrameBytes)));

    [Fact]
    public void A_joiner_has_the_bytes_of_the_holders_however_the_state_is_cut()
    {
        Gen.Select(RegionBytes.Array[1, 12], Gen.Int[1, 3], Gen.Int[0, 1000], Gen.Bool).Sample((sizes, holders, seed, otherCut) =>
        {
            var content = HostState.Random(sizes.Sum(), seed);
            using var held = new HostState(sizes, content);
            using var taken = new HostState(otherCut ? [.. sizes.Reverse()] : sizes);
            using var mesh = new Mesh(holders + 2, holders + 2);
            // Rank 0 joins, the last one neither holds nor joins.
            var exchanges = mesh.ConnectAllAsync(10, served: rank => rank > 0 && rank <= holders ? held.Regions : []).GetAwaiter().GetResult();
            exchanges[0].FetchState([.. Enumerable.Range(1, holders)], taken.Regions, CancellationToken.None);
            Assert.True(content.AsSpan().SequenceEqual(taken.Content));
            foreach (var exchange in exchanges)
                exchange.Dispose();
        }, iter: 30, threads: 1);
    }

    [Fact]
    public async Task Those_who_serve_the_state_compute_and_sum_meanwhile()
    {
        const int length = 300_000;
        var content = HostState.Random(7_000_001);
        using var held = new HostState([1, 3_000_000, 4_000_000], content);
        using var mesh = new Mesh(4, 8);
        var exchanges = await mesh.ConnectAllAsync(length, served: rank => rank < 2 ? held.Regions : []);
        var workers = await OnThreads(4, rank =>
        {
            using var exchange = exchanges[rank];
            using var taken = new HostState([7_000_001]);
            if (rank >= 2)
                exchange.FetchState([0, 1], taken.Regions, CancellationToken.None);
            var sums = Enumerable.Range(0, 2).Select(step => SimulatedWorker.Step(exchange, 8, step, length).Sum).ToArray();
            return (sums, State: rank < 2 ? content : taken.Content);
        });
        for (var step = 0; step < 2; step++)
            Assert.All(workers, worker => Assert.True(SimulatedWorker.Reference(new(0, 8), step, length).AsSpan().SequenceEqual(worker.sums[step])));
        Assert.All(workers, worker => Assert.True(content.AsSpan().SequenceEqual(worker.State)));
    }

    [Fact]
    public async Task A_holder_that_dies_half_way_is_the_suspect()
    {
        var content = HostState.Random(5_000_000);
        using var taken = new HostState([5_000_000]);
        using var mesh = new Mesh(2, 2);
        var (exchange, holder) = await RawPeer.ConnectAsync(mesh, 10);
        using (exchange)
        {
            var fetching = OnThread(() => Fetch(exchange, taken));
            holder.AnswerRequest(content);
            holder.AnswerRequest(content);
            holder.Dispose();
            var error = Assert.IsType<ExchangeBrokenException>(await fetching);
            Assert.Equal(["worker-1"], error.Suspects);
            Assert.Contains("its part of the state", error.Message);
        }
    }

    [Fact]
    public async Task A_holder_of_which_nothing_is_needed_may_be_gone()
    {
        var content = HostState.Random(100);
        using var held = new HostState([100], content);
        using var taken = new HostState([100]);
        using var mesh = new Mesh(3, 3);
        var exchanges = await mesh.ConnectAllAsync(10, served: rank => rank > 0 ? held.Regions : []);
        // A state smaller than a frame is one stripe, that of the last holder.
        exchanges[1].Dispose();
        var error = Fetch(exchanges[0], taken, 1, 2);
        Assert.Null(error);
        Assert.Equal(content, taken.Content);
        exchanges[0].Dispose();
        exchanges[2].Dispose();
    }

    [Fact]
    public async Task A_damaged_chunk_breaks_the_exchange_and_its_sender_is_the_suspect()
    {
        using var taken = new HostState([1000]);
        using var mesh = new Mesh(2, 2);
        var (exchange, holder) = await RawPeer.ConnectAsync(mesh, 10);
        using (exchange)
        using (holder)
        {
            var fetching = OnThread(() => Fetch(exchange, taken));
            holder.AnswerRequest(new byte[1000], bytes => bytes[FrameCodec.HeadBytes + 500] ^= 1);
            var error = Assert.IsType<ExchangeBrokenException>(await fetching);
            Assert.Contains("CRC mismatch", error.Message);
            Assert.Equal(["worker-1"], error.Suspects);
        }
    }

    [Fact]
    public async Task A_chunk_that_was_not_asked_for_breaks_the_exchange()
    {
        using var taken = new HostState([1000]);
        using var mesh = new Mesh(2, 2);
        var (exchange, holder) = await RawPeer.ConnectAsync(mesh, 10);
        using (exchange)
        using (holder)
        {
            var fetching = OnThread(() => Fetch(exchange, taken));
            holder.Receive(ExchangePhase.StateRequest);
            holder.Send(holder.Header(0, 0, ExchangePhase.StateChunk, default, 500, 500), new byte[500]);
            var error = Assert.IsType<ExchangeBrokenException>(await fetching);
            Assert.Contains("not asked for", error.Message);
            Assert.All(taken.Content, value => Assert.Equal(0xEE, value));
        }
    }

    [Fact]
    public async Task Chunks_of_older_generations_change_nothing()
    {
        var content = HostState.Random(1000);
        using var taken = new HostState([1000]);
        using var mesh = new Mesh(2, 2);
        var (exchange, holder) = await RawPeer.ConnectAsync(mesh, 10);
        using (exchange)
        using (holder)
        {
            var fetching = OnThread(() => Fetch(exchange, taken));
            holder.Send(holder.Header(0, 0, ExchangePhase.StateChunk, default, 0, 1000) with { Generation = 0 }, new byte[1000]);
            holder.AnswerRequest(content);
            Assert.Null(await fetching);
            Assert.Equal(content, taken.Content);
        }
    }

    [Fact]
    public async Task Who_does_not_hold_the_state_is_not_asked_for_it()
    {
        using var mesh = new Mesh(2, 2);
        var (exchange, peer) = await RawPeer.ConnectAsync(mesh, 10);
        using (exchange)
        using (peer)
        {
            peer.Request(1000, 0, 1000);
            var error = Assert.Throws<ExchangeBrokenException>(() => SimulatedWorker.Step(exchange, 2, 0, 10));
            Assert.Contains("StateRequest", error.Message);
            Assert.Equal(["worker-1"], error.Suspects);
        }
    }

    [Fact]
    public async Task Another_model_is_told_by_both_sizes()
    {
        using var held = new HostState([1234]);
        using var taken = new HostState([1000]);
        using var mesh = new Mesh(2, 2);
        var exchanges = await mesh.ConnectAllAsync(10, served: rank => rank == 1 ? held.Regions : []);
        var error = Assert.IsType<SoraException>(Fetch(exchanges[0], taken));
        Assert.Contains("worker-1", error.Message);
        Assert.Contains("1234 bytes", error.Message);
        Assert.Contains("1000 bytes", error.Message);
        exchanges[0].Dispose();
        exchanges[1].Dispose();
    }

    [Fact]
    public async Task A_silent_holder_is_given_up_and_named()
    {
        var time = new FakeTimeProvider();
        using var taken = new HostState([1000]);
        using var mesh = new Mesh(2, 2);
        var (exchange, holder) = await RawPeer.ConnectAsync(mesh, 10, time: time);
        using (exchange)
        using (holder)
        {
            var fetching = OnThread(() => Fetch(exchange, taken));
            while (!fetching.IsCompleted)
            {
                time.Advance(TimeSpan.FromSeconds(10));
                await Task.Yield();
            }
            var error = Assert.IsType<ExchangeBrokenException>(await fetching);
            Assert.Equal(["worker-1"], error.Suspects);
            Assert.Contains("nothing moved for 30 s", error.Message);
        }
    }

    [Fact]
    public async Task Leaving_and_cancelling_end_a_transfer_and_leave_the_memory_alone()
    {
        var content = HostState.Random(5_000_000);
        foreach (var cancel in new[] { false, true })
        {
            using var taken = new HostState([5_000_000]);
            using var giveUp = new CancellationTokenSource();
            using var mesh = new Mesh(2, 2);
            var (exchange, holder) = await RawPeer.ConnectAsync(mesh, 10);
            using (exchange)
            using (holder)
            {
                var fetching = OnThread(() => Fetch(exchange, taken, giveUp.Token, 1));
                holder.AnswerRequest(content);
                if (cancel)
                    await giveUp.CancelAsync();
                else
                    exchange.Leave("it was told to");
                var error = await fetching;
                Assert.Equal(cancel ? typeof(OperationCanceledException) : typeof(ExchangeBrokenException), error?.GetType());
                if (error is ExchangeBrokenException broken)
                    Assert.Empty(broken.Suspects);
                // Nothing of what the holder sends now can arrive: both ends are closed, and the farewell was the last.
                Assert.Contains("told to", System.Text.Encoding.UTF8.GetString(holder.Receive(ExchangePhase.Bye).Payload));
            }
        }
    }

    [Fact]
    public async Task A_joiner_that_takes_nothing_in_does_not_keep_a_holder_from_leaving()
    {
        var held = new HostState([5_000_000], HostState.Random(5_000_000));
        using var mesh = new Mesh(2, 2);
        var (exchange, joiner) = await RawPeer.ConnectAsync(mesh, 10, held.Regions);
        using (joiner)
        {
            for (var offset = 0; offset < 4_000_000; offset += 1_000_000)
                joiner.Request(5_000_000, offset, 1_000_000);
            // The first has begun to arrive: a thread of the holder is in the middle of its memory.
            joiner.Receive(ExchangePhase.StateChunk);
            exchange.Dispose();
            held.Dispose();
        }
    }

    [Fact]
    public async Task Who_waits_for_a_joiner_has_patience_as_long_as_the_state_moves()
    {
        var time = new ThreadClock();
        using var mesh = new Mesh(2, 2);
        var (exchange, joiner) = await RawPeer.ConnectAsync(mesh, 100, time: time);
        using (exchange)
        using (joiner)
        {
            var waiting = OnThread(() => Record.Exception(() => SimulatedWorker.Step(exchange, 2, 0, 100)));
            await time.LooksAsync("exchange to rank 1", 2);
            for (var i = 0; i < 5; i++)
            {
                time.Advance(TimeSpan.FromSeconds(25)); // of 30
                joiner.Progress();
                await time.LooksAsync("exchange from rank 1", 1);
                Assert.False(waiting.IsCompleted);
            }
            time.Advance(TimeSpan.FromSeconds(31));
            Assert.Equal(["worker-1"], Assert.IsType<ExchangeBrokenException>(await waiting).Suspects);
        }
    }

    [Fact]
    public async Task A_joiner_lets_those_who_wait_for_it_know_that_the_state_moves()
    {
        var time = new FakeTimeProvider();
        var state = HostState.Random(3 * StateRegions.FrameBytes);
        using var taken = new HostState([state.Length]);
        using var mesh = new Mesh(3, 3);
        var connecting = mesh.ConnectAsync(0, 10, time: time);
        using var holder = await RawPeer.DialAsync(mesh, 1);
        using var waiting = await RawPeer.DialAsync(mesh, 2);
        using var exchange = await connecting;
        var fetching = OnThread(() => Fetch(exchange, taken));
        for (var frame = 0; frame < 3; frame++)
        {
            time.Advance(TimeSpan.FromSeconds(10)); // of 30
            holder.AnswerRequest(state);
            waiting.Receive(ExchangePhase.StateProgress);
        }
        Assert.Null(await fetching);
        Assert.Equal(state, taken.Content);
    }

    [Fact]
    public async Task The_state_is_taken_over_once_and_before_the_first_collective()
    {
        using var held = new HostState([10]);
        using var taken = new HostState([10]);
        using var mesh = new Mesh(2, 2);
        var exchanges = await mesh.ConnectAllAsync(10, served: rank => rank == 1 ? held.Regions : []);
        Assert.IsType<ArgumentException>(Fetch(exchanges[0], taken, 0));
        Assert.IsType<ArgumentException>(Record.Exception(() => exchanges[0].FetchState([], taken.Regions, CancellationToken.None)));
        Assert.Null(Fetch(exchanges[0], taken));
        Assert.IsType<InvalidOperationException>(Fetch(exchanges[0], taken));
        exchanges[0].Dispose();
        exchanges[1].Dispose();
    }

    private static Exception? Fetch(MeshExchange exchange, HostState into, params int[] holders) => Fetch(exchange, into, CancellationToken.None, holders);

    private static Exception? Fetch(MeshExchange exchange, HostState into, CancellationToken cancellationToken, params int[] holders) =>
        Record.Exception(() => exchange.FetchState(holders.Length > 0 ? holders : [1], into.Regions, cancellationToken));
}
