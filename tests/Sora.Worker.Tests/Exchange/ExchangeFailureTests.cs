using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Time.Testing;
using Sora.Protocol.Exchange;
using Sora.Protocol.Wire;
using Sora.Worker.Exchange;
using static Sora.Worker.Tests.Exchange.Mesh;

namespace Sora.Worker.Tests.Exchange;

public class ExchangeFailureTests
{
    [Fact]
    public async Task A_peer_that_leaves_ends_the_step_of_the_others_with_its_name_and_reason()
    {
        using var mesh = new Mesh(3, 3);
        var exchanges = await mesh.ConnectAllAsync(100_000);
        var messages = await Mesh.OnThreads(3, rank =>
        {
            using var exchange = exchanges[rank];
            SimulatedWorker.Step(exchange, 3, 0, 100_000);
            if (rank == 1)
            {
                exchange.Leave("the loss is not finite");
                return "";
            }
            var error = Assert.Throws<ExchangeBrokenException>(() => SimulatedWorker.Step(exchange, 3, 1, 100_000));
            // Who says goodbye is well, and so is who says so because of the first.
            Assert.Empty(error.Suspects);
            return error.Message;
        });
        Assert.Contains(messages, message => message.Contains("Step 1: worker-1") && message.Contains("the loss is not finite"));
        Assert.All([messages[0], messages[2]], message => Assert.StartsWith("Step 1: ", message));
    }

    [Fact]
    public async Task A_peer_whose_process_dies_is_named()
    {
        using var mesh = new Mesh(2, 2, tcp: true);
        var (exchange, peer) = await RawPeer.ConnectAsync(mesh, 1000);
        using (exchange)
        {
            var step = OnThread(() => SimulatedWorker.Step(exchange, 2, 4, 1000));
            peer.Totals(0, 4, SimulatedWorker.Totals(1, 4));
            peer.Dispose();
            var error = await Assert.ThrowsAsync<ExchangeBrokenException>(() => step);
            Assert.Contains("Step 4: worker-1 (tcp:", error.Message);
            // A reset may take the totals it had sent with it, so either may be what is missing.
            Assert.Contains("This worker was waiting for its", error.Message);
            Assert.Equal(["worker-1"], error.Suspects);
            // It stays broken.
            Assert.Throws<ExchangeBrokenException>(() => SimulatedWorker.Step(exchange, 2, 5, 1000));
        }
    }

    [Fact]
    public async Task Whom_an_exchange_waits_for_can_be_asked_meanwhile()
    {
        using var mesh = new Mesh(2, 2, tcp: true);
        var (exchange, peer) = await RawPeer.ConnectAsync(mesh, 1000);
        using (exchange)
        {
            Assert.Empty(exchange.WaitsFor(TimeSpan.Zero));
            var step = OnThread(() => SimulatedWorker.Step(exchange, 2, 4, 1000));
            Assert.True(SpinWait.SpinUntil(() => exchange.WaitsFor(TimeSpan.Zero) is ["worker-1"], TimeSpan.FromMinutes(1)));
            Assert.Empty(exchange.WaitsFor(TimeSpan.FromHours(1)));
            peer.Dispose();
            await Assert.ThrowsAsync<ExchangeBrokenException>(() => step);
        }
    }

    [Theory, InlineData(40), InlineData(FrameCodec.HeadBytes + 33)]
    public async Task A_damaged_frame_breaks_the_exchange(int position)
    {
        using var mesh = new Mesh(2, 2);
        var (exchange, peer) = await RawPeer.ConnectAsync(mesh, 1000);
        using (exchange)
        using (peer)
        {
            var step = OnThread(() => SimulatedWorker.Step(exchange, 2, 0, 1000));
            peer.Send(peer.Header(0, 0, ExchangePhase.GradientScatter, new(1, 1), 0, 2000), new byte[2000], bytes => bytes[position] ^= 4);
            var error = await Assert.ThrowsAsync<ExchangeBrokenException>(() => step);
            Assert.Contains("CRC mismatch", error.Message);
            Assert.Contains("worker-1", error.Message);
        }
    }

    [Fact]
    public async Task Stale_and_repeated_frames_change_nothing()
    {
        using var mesh = new Mesh(2, 2);
        var (exchange, peer) = await RawPeer.ConnectAsync(mesh, 1000);
        using (exchange)
        using (peer)
        {
            var wrong = new float[500];
            for (var step = 0; step < 3; step++)
            {
                var now = step;
                var running = OnThread(() => SimulatedWorker.Step(exchange, 2, now, 1000));
                var gradient = SimulatedWorker.Gradient(1, step, 1000);
                peer.Scatter(step, step, new(1, 1), 0, gradient.AsSpan(0, 500));
                peer.Scatter(step, step, new(1, 1), 0, wrong);
                peer.Scatter(step, step, new(1, 1), 0, wrong, generation: 0);
                peer.Scatter(step, step, new(1, 1), 0, wrong, run: 5);
                if (step > 0)
                    peer.Scatter(step - 1, step - 1, new(1, 1), 0, wrong);
                peer.Totals(step, step, SimulatedWorker.Totals(1, step));
                var own = peer.ReceiveGradient(ExchangePhase.GradientScatter);
                peer.Result(step, step, 500, own.Zip(gradient[500..], (a, b) => a + b).ToArray());
                Assert.Equal(SimulatedWorker.Reference(new(0, 2), step, 1000), (await running).Sum);
            }
        }
    }

    [Fact]
    public async Task Frames_that_come_before_this_worker_begins_are_kept()
    {
        using var mesh = new Mesh(2, 2);
        var (exchange, peer) = await RawPeer.ConnectAsync(mesh, 1000);
        using (exchange)
        using (peer)
        {
            var gradient = SimulatedWorker.Gradient(1, 0, 1000);
            peer.Scatter(0, 0, new(1, 1), 0, gradient.AsSpan(0, 500));
            peer.Totals(0, 0, SimulatedWorker.Totals(1, 0));
            var running = OnThread(() => SimulatedWorker.Step(exchange, 2, 0, 1000));
            peer.Result(0, 0, 500, peer.ReceiveGradient(ExchangePhase.GradientScatter).Zip(gradient[500..], (a, b) => a + b).ToArray());
            Assert.Equal(SimulatedWorker.Reference(new(0, 2), 0, 1000), (await running).Sum);
        }
    }

    [Fact]
    public async Task A_frame_of_a_step_that_cannot_have_begun_breaks_the_exchange()
    {
        using var mesh = new Mesh(2, 2);
        var (exchange, peer) = await RawPeer.ConnectAsync(mesh, 1000);
        using (exchange)
        using (peer)
        {
            peer.Scatter(5, 5, new(1, 1), 0, new float[500]);
            var error = await Assert.ThrowsAsync<ExchangeBrokenException>(() => OnThread(() => SimulatedWorker.Step(exchange, 2, 0, 1000)));
            Assert.Contains("collective 5", error.Message);
        }
    }

    [Fact]
    public async Task Silence_ends_with_the_list_of_what_is_missing()
    {
        var time = new FakeTimeProvider();
        using var mesh = new Mesh(2, 2);
        var exchanges = await mesh.ConnectAllAsync(1000, time, TimeSpan.FromSeconds(120));
        var waiting = OnThread(() => SimulatedWorker.Step(exchanges[0], 2, 3, 1000));
        while (!waiting.IsCompleted)
        {
            time.Advance(TimeSpan.FromSeconds(30));
            await Task.Yield();
        }
        var error = await Assert.ThrowsAsync<ExchangeBrokenException>(() => waiting);
        Assert.Contains("Step 3: nothing moved for 120 s (ddp_timeout)", error.Message);
        Assert.Contains("worker-1", error.Message);
        Assert.Equal(["worker-1"], error.Suspects);
        exchanges[1].Dispose();
        exchanges[0].Dispose();
    }

    [Fact]
    public async Task Only_the_silent_one_is_suspected_although_others_cannot_finish_either()
    {
        var time = new FakeTimeProvider();
        using var state = new HostState([1]);
        using var mesh = new Mesh(3, 3);
        var connecting = mesh.ConnectAsync(0, 300, time: time, served: state.Regions);
        using var waiting = await RawPeer.DialAsync(mesh, 1);
        using var silent = await RawPeer.DialAsync(mesh, 2);
        using var exchange = await connecting;
        // Rank 1 sends all it can: its chunk of the sum lacks what rank 2 has. The answer shows that all of it has arrived.
        waiting.Totals(0, 0, SimulatedWorker.Totals(1, 0));
        waiting.Scatter(0, 0, new(1, 1), 0, new float[100]);
        waiting.Request(1, 0, 1);
        waiting.Receive(ExchangePhase.StateChunk);
        var step = OnThread(() => Record.Exception(() => SimulatedWorker.Step(exchange, 3, 0, 300)));
        while (!step.IsCompleted)
        {
            time.Advance(TimeSpan.FromSeconds(10));
            await Task.Yield();
        }
        Assert.Equal(["worker-2"], Assert.IsType<ExchangeBrokenException>(await step).Suspects);
    }

    [Fact]
    public async Task A_peer_that_dies_after_it_has_sent_everything_does_not_break_the_step()
    {
        using var mesh = new Mesh(2, 2);
        var (exchange, peer) = await RawPeer.ConnectAsync(mesh, 1000);
        using (exchange)
        {
            exchange.ThrowIfBroken();
            var running = OnThread(() => SimulatedWorker.Step(exchange, 2, 0, 1000));
            var gradient = SimulatedWorker.Gradient(1, 0, 1000);
            peer.Totals(0, 0, SimulatedWorker.Totals(1, 0));
            peer.Scatter(0, 0, new(1, 1), 0, gradient.AsSpan(0, 500));
            peer.Result(0, 0, 500, peer.ReceiveGradient(ExchangePhase.GradientScatter).Zip(gradient[500..], (a, b) => a + b).ToArray());
            peer.Dispose();
            Assert.Equal(SimulatedWorker.Reference(new(0, 2), 0, 1000), (await running).Sum);
            // But there will be no other: it is given up before anything is computed for it.
            var error = await GivenUp(exchange);
            Assert.Equal(["worker-1"], error.Suspects);
            Assert.Contains("worker-1", error.Message);
        }
    }

    [Fact]
    public async Task Who_has_left_gives_the_step_up()
    {
        using var mesh = new Mesh(2, 2);
        var exchanges = await mesh.ConnectAllAsync(10);
        exchanges[1].ThrowIfBroken();
        exchanges[0].Leave("it was told to");
        Assert.Contains("it was told to", Assert.Throws<ExchangeBrokenException>(exchanges[0].ThrowIfBroken).Message);
        var error = await GivenUp(exchanges[1]);
        Assert.Contains("left: it was told to", error.Message);
        Assert.Empty(error.Suspects);
        exchanges[0].Dispose();
        exchanges[1].Dispose();
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task A_peer_that_goes_while_others_are_still_missing_ends_the_connecting(bool tcp)
    {
        using var mesh = new Mesh(3, 3, tcp);
        var connecting = mesh.ConnectAsync(0, 10, timeout: TimeSpan.FromDays(1));
        (await RawPeer.DialAsync(mesh)).Dispose();
        var error = await Assert.ThrowsAsync<ExchangeBrokenException>(() => connecting);
        Assert.Equal(["worker-1"], error.Suspects);
        Assert.Contains("worker-1", error.Message);
    }

    [Theory, InlineData(true, true), InlineData(true, false), InlineData(false, true), InlineData(false, false)]
    public async Task A_peer_that_has_ended_before_any_connection_to_it_stood_ends_the_connecting(bool tcp, bool dialled)
    {
        var time = new FakeTimeProvider();
        using var mesh = new Mesh(3, 3, tcp);
        var gone = dialled ? 0 : 2;
        mesh.Listeners[gone].Dispose();
        var connecting = Enumerable.Range(0, 3).Where(rank => rank != gone).Select(rank => mesh.ConnectAsync(rank, 10, time: time, timeout: TimeSpan.FromDays(1))).ToList();
        // Peers are dialled in the time of the machine: a clock that ran away from it would only show that a day has passed.
        while (!connecting.TrueForAll(one => one.IsCompleted))
        {
            time.Advance(TimeSpan.FromSeconds(1));
            await Task.WhenAny(Task.WhenAll(connecting), Task.Delay(10, TestContext.Current.CancellationToken));
        }
        var errors = await Task.WhenAll(connecting.ConvertAll(one => Assert.ThrowsAsync<ExchangeBrokenException>(() => one)));
        Assert.Contains(errors, error => error.Suspects.SequenceEqual([$"worker-{gone}"]) && error.Message.Contains($"worker-{gone} has ended"));
    }

    [Theory, InlineData(59), InlineData(61)]
    public async Task Who_is_silent_when_another_says_goodbye_is_suspected_after_half_the_time(int seconds)
    {
        var time = new ThreadClock();
        using var mesh = new Mesh(3, 3);
        var connecting = mesh.ConnectAsync(0, 300, time: time, timeout: TimeSpan.FromSeconds(120));
        using var leaving = await RawPeer.DialAsync(mesh, 1);
        using var silent = await RawPeer.DialAsync(mesh, 2);
        using var exchange = await connecting;
        var step = OnThread(() => Record.Exception(() => SimulatedWorker.Step(exchange, 3, 0, 300)));
        // Its totals and its share of the gradient have left: nothing moves any more.
        await time.LooksAsync("exchange to rank 1", 2);
        await time.LooksAsync("exchange to rank 2", 2);
        time.Advance(TimeSpan.FromSeconds(seconds));
        leaving.SayGoodbye("it has waited for another one for too long");

        var broken = Assert.IsType<ExchangeBrokenException>(await step);
        Assert.Contains("it has waited for another one for too long", broken.Message);
        Assert.Equal(seconds > 60 ? ["worker-2"] : [], broken.Suspects);
    }

    [Fact]
    public async Task Nobody_there_in_time_names_the_missing()
    {
        var time = new FakeTimeProvider();
        using var mesh = new Mesh(3, 3);
        var connecting = mesh.ConnectAsync(1, 10, time: time, timeout: TimeSpan.FromSeconds(60));
        time.Advance(TimeSpan.FromSeconds(61));
        var error = await Assert.ThrowsAsync<ExchangeBrokenException>(() => connecting);
        Assert.Contains("did not connect within 60 s", error.Message);
        Assert.Equal(["worker-0", "worker-2"], error.Suspects);
    }

    [Fact]
    public async Task Another_secret_is_refused_with_a_reason_at_both_ends()
    {
        var time = new FakeTimeProvider();
        using var mesh = new Mesh(2, 2);
        var acceptor = mesh.ConnectAsync(0, 10, time: time, timeout: TimeSpan.FromSeconds(60));
        var dialer = await Assert.ThrowsAsync<ExchangeBrokenException>(() => mesh.ConnectAsync(1, 10, mesh.Group(1, secret: new byte[32]), time));
        Assert.Contains("does not know the secret", dialer.Message);
        Assert.Equal(["worker-0"], dialer.Suspects);
        time.Advance(TimeSpan.FromSeconds(61));
        var accepting = await Assert.ThrowsAsync<ExchangeBrokenException>(() => acceptor);
        Assert.Contains("worker-1", accepting.Message);
        Assert.Equal(["worker-1"], accepting.Suspects);
    }

    [Fact]
    public async Task An_older_generation_is_refused_with_both_numbers()
    {
        using var mesh = new Mesh(2, 2);
        var acceptor = mesh.ConnectAsync(0, 10, mesh.Group(0, generation: 9));
        var dialer = await Assert.ThrowsAsync<ExchangeBrokenException>(() => mesh.ConnectAsync(1, 10));
        Assert.Contains("generation 1", dialer.Message);
        Assert.Contains("generation 9", dialer.Message);
        Assert.Equal(["worker-0"], dialer.Suspects);
        // The one it waits for may still come.
        (await mesh.ConnectAsync(1, 10, mesh.Group(1, generation: 9))).Dispose();
        (await acceptor).Dispose();
    }

    [Fact]
    public async Task Garbage_on_the_port_harms_nobody()
    {
        using var mesh = new Mesh(2, 2, tcp: true);
        var endpoint = (IPEndPoint)ExchangeEndpoint.Parse(mesh.Members[0].Endpoints[0]);
        using var garbage = new TcpClient();
        await garbage.ConnectAsync(endpoint, TestContext.Current.CancellationToken);
        await garbage.GetStream().WriteAsync("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"u8.ToArray().Concat(new byte[500]).ToArray(), TestContext.Current.CancellationToken);
        using var silent = new TcpClient();
        await silent.ConnectAsync(endpoint, TestContext.Current.CancellationToken);

        var exchanges = await mesh.ConnectAllAsync(1000);
        var sums = await Mesh.OnThreads(2, rank =>
        {
            using var exchange = exchanges[rank];
            return SimulatedWorker.Step(exchange, 2, 0, 1000).Sum;
        });
        Assert.Equal(SimulatedWorker.Reference(new(0, 2), 0, 1000), sums[0]);
        Assert.Equal(sums[0], sums[1]);
    }

    /// <summary>What a training thread that looks between micro-batches is told in the end.</summary>
    private static Task<ExchangeBrokenException> GivenUp(MeshExchange exchange) => OnThread(() =>
    {
        while (true)
        {
            if (Record.Exception(exchange.ThrowIfBroken) is { } error)
                return Assert.IsType<ExchangeBrokenException>(error);
            Thread.Yield();
        }
    });
}
