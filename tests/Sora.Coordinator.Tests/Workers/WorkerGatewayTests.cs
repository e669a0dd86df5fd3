using System.Text;
using Akka.Actor;
using Grpc.Core;
using Grpc.Net.Client;
using Sora.Coordinator.Runs;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;
using Status = Grpc.Core.Status;

namespace Sora.Coordinator.Tests.Workers;

public sealed class WorkerGatewayTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(null)]
    [InlineData("Bearer wrong")]
    [InlineData("right but without the scheme")]
    public async Task Every_call_without_the_token_is_refused(string? authorization)
    {
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { Token = "right but without the scheme", WorkerSilenceLimit = TimeSpan.FromMilliseconds(300) });
        using var channel = GrpcChannel.ForAddress(coordinator.Host.Address);
        var client = new WorkerGateway.WorkerGatewayClient(channel);
        var headers = new Metadata();
        if (authorization is not null)
            headers.Add("authorization", authorization);

        using var session = client.Session(headers, cancellationToken: Cancel);
        using var pieces = client.GetPieces(new PiecesRequest(), headers, cancellationToken: Cancel);
        RpcException[] errors =
        [
            await Assert.ThrowsAsync<RpcException>(() => session.ResponseStream.MoveNext(Cancel)),
            await Assert.ThrowsAsync<RpcException>(() => pieces.ResponseStream.MoveNext(Cancel)),
            await Assert.ThrowsAsync<RpcException>(async () => await client.GetManifestAsync(new ManifestRequest(), headers, cancellationToken: Cancel)),
        ];

        Assert.All(errors, error => Assert.Equal(StatusCode.Unauthenticated, error.StatusCode));
    }

    [Fact]
    public async Task Tokens_are_random_when_none_is_given()
    {
        await using var one = await TestCoordinator.StartAsync();
        await using var other = await TestCoordinator.StartAsync();

        Assert.Equal(64, one.Host.Token.Length);
        Assert.NotEqual(one.Host.Token, other.Host.Token);
    }

    [Fact]
    public async Task Pieces_come_in_the_order_asked_for_and_unknown_ones_are_not_found()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("pieces"));
        using var channel = GrpcChannel.ForAddress(coordinator.Host.Address);
        var client = new WorkerGateway.WorkerGatewayClient(channel);
        var headers = FakeWorker.Bearer(coordinator.Host.Token);

        var manifest = await client.GetManifestAsync(new ManifestRequest { CorpusHash = "corpus" }, headers, cancellationToken: Cancel);
        using var call = client.GetPieces(new PiecesRequest { CorpusHash = "corpus", Sha256 = { "bb", "aa", "cc" } }, headers, cancellationToken: Cancel);
        var received = new List<string>();
        var missing = await Assert.ThrowsAsync<RpcException>(async () =>
        {
            await foreach (var piece in call.ResponseStream.ReadAllAsync(Cancel))
                received.Add($"{piece.Sha256}:{piece.Content.ToStringUtf8()}");
        });
        var stranger = await Assert.ThrowsAsync<RpcException>(async () => await client.GetManifestAsync(new ManifestRequest { CorpusHash = "other" }, headers, cancellationToken: Cancel));

        Assert.Equal("{\"manifest\":1}", manifest.Manifest.ToString(Encoding.UTF8));
        Assert.Equal(["bb:second", "aa:first"], received);
        Assert.Equal((StatusCode.NotFound, StatusCode.NotFound), (missing.StatusCode, stranger.StatusCode));
        Assert.Contains("cc", missing.Status.Detail);
        await run.StopAsync("done");
        Assert.IsType<RunStopped>((await TestCoordinator.ToEndAsync(run))[^1]);
    }

    [Fact]
    public async Task Another_protocol_version_is_refused_with_both_numbers()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        await using var worker = await FakeWorker.DialAsync(coordinator.Host, "w1", version: 99);

        Assert.Contains($"version 99, this coordinator {WorkerProtocol.Version}", (await worker.HearAsync()).Refused.Reason);
        Assert.True(await worker.StreamEndsAsync());
    }

    [Fact]
    public async Task A_second_process_of_the_same_name_is_turned_away_once_the_first_is_heard()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("twins", workers: 1));
        await using var first = await FakeWorker.DialAsync(coordinator.Host, "w1");
        var generation = await FakeWorker.BeginAsync(first);
        await using var twin = await FakeWorker.DialAsync(coordinator.Host, "w1", incarnation: "another process");
        using var beating = new CancellationTokenSource();
        var heart = BeatAsync(first, beating.Token);

        Assert.Contains("'w1' is connected already", (await twin.HearAsync()).Refused.Reason);
        await beating.CancelAsync();
        await heart;
        await first.FinishRunAsync(generation);
        Assert.IsType<RunFinished>((await TestCoordinator.ToEndAsync(run))[^1]);
    }

    [Fact]
    public async Task Nobody_stands_still_for_a_silent_worker_until_its_stream_is_given_up()
    {
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { WorkerSilenceLimit = TimeSpan.FromSeconds(3), AbsenceLimit = TimeSpan.FromHours(1) });
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("stopped", workers: 2));
        await using var first = await FakeWorker.DialAsync(coordinator.Host, "w1");
        await using var second = await FakeWorker.DialAsync(coordinator.Host, "w2");
        var generation = await FakeWorker.BeginAsync(first, second);
        await coordinator.AllComputeAsync("stopped");
        using var beating = new CancellationTokenSource();
        var heart = BeatAsync(first, beating.Token, new Heartbeat { Generation = generation.Generation_, WaitsFor = { "w2" } });

        Assert.False((await first.HaltAsync(0)).Gracefully);
        await beating.CancelAsync();
        await heart;
        await first.FinishRunAsync(await first.ReadyAsync());
        Assert.Contains("the others wait for it", Assert.Single((await TestCoordinator.ToEndAsync(run)).OfType<WorkerLeft>()).Reason);
    }

    [Fact]
    public async Task A_worker_that_dials_again_supersedes_its_old_stream_and_nobody_else_notices()
    {
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { AbsenceLimit = TimeSpan.FromMilliseconds(50) });
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("again"));
        await using var first = await FakeWorker.DialAsync(coordinator.Host, "w1");
        await using var second = await FakeWorker.DialAsync(coordinator.Host, "w2");
        var generation = await FakeWorker.BeginAsync(first, second);
        await coordinator.AllComputeAsync("again");

        await using var again = await FakeWorker.DialAsync(coordinator.Host, "w1", FakeWorker.Training(generation, "w1", 1));
        Assert.True(await first.StreamEndsAsync());
        await again.FinishRunAsync(generation);
        await second.FinishAsync(generation, 3, "weights");
        var events = await TestCoordinator.ToEndAsync(run);

        Assert.Single(events.OfType<GenerationFormed>());
        Assert.Empty(events.OfType<WorkerLeft>());
        Assert.IsType<RunFinished>(events[^1]);
    }

    [Fact]
    public async Task What_an_old_stream_says_late_is_not_taken_for_new()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("late", workers: 1));
        await using var worker = await FakeWorker.DialAsync(coordinator.Host, "w1");
        var generation = await FakeWorker.BeginAsync(worker);
        await coordinator.AllComputeAsync("late");
        var (system, _) = await coordinator.Host.Actors;
        var jobs = JobRegion.Of(system);

        jobs.Tell(new ForwardFromWorker("late", "w1", "an old one", new FromWorker { Failed = new Failed { Run = "late", Generation = 1, Message = "long ago", ExitCode = ExitCode.Diverged } }));
        jobs.Tell(new ReportLostWorker("late", "w1", "an old one", "long ago"));
        await worker.FinishRunAsync(generation);

        Assert.IsType<RunFinished>((await TestCoordinator.ToEndAsync(run))[^1]);
    }

    [Fact]
    public async Task A_worker_of_a_run_that_is_over_or_unknown_is_sent_home()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("over", workers: 1));
        await using var worker = await FakeWorker.DialAsync(coordinator.Host, "w1");
        var generation = await FakeWorker.BeginAsync(worker);
        await worker.FinishRunAsync(generation);
        await TestCoordinator.ToEndAsync(run);
        await using var late = await FakeWorker.DialAsync(coordinator.Host, "w2", FakeWorker.Training(generation, "w2", 2));
        generation.Run = "never heard of";
        await using var stranger = await FakeWorker.DialAsync(coordinator.Host, "w3", FakeWorker.Training(generation, "w3", 2));

        var goodbye = (await late.HearAsync()).Goodbye;
        Assert.Equal(("the run is finished", 0u), (goodbye.Reason, goodbye.ExitCode));
        Assert.Contains("never heard of", (await stranger.HearAsync()).Goodbye.Reason);
    }

    [Fact]
    public async Task A_worker_in_reserve_goes_to_the_next_run_or_home()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("first", workers: 1));
        await using var worker = await FakeWorker.DialAsync(coordinator.Host, "w1");
        var generation = await FakeWorker.BeginAsync(worker);
        await using var spare = await FakeWorker.DialAsync(coordinator.Host, "w2");
        await using var other = await FakeWorker.DialAsync(coordinator.Host, "w3");
        var next = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("second", workers: 1));
        await TestCoordinator.ReachesAsync(coordinator.Host, "second", RunPhase.Gathering);
        await worker.FinishRunAsync(generation);
        Assert.IsType<RunFinished>((await TestCoordinator.ToEndAsync(run))[^1]);

        // Which of the two gets the place and which goes into reserve once more is left to chance.
        var heard = new[] { spare.HearAsync(), other.HearAsync() };
        var index = Array.IndexOf(heard, await Task.WhenAny(heard));
        Assert.Equal("second", (await heard[index]).Assignment.Run);
        var taken = new[] { spare, other }[index];
        await taken.SayAsync(new FromWorker { Canary = new CanaryResult { Run = "second", Sha256 = "same", Parameters = 10 } });
        await taken.FinishRunAsync(await taken.ReadyAsync());
        Assert.IsType<RunFinished>((await TestCoordinator.ToEndAsync(next))[^1]);
        Assert.NotNull((await heard[1 - index]).Goodbye);
    }

    private static async Task BeatAsync(FakeWorker worker, CancellationToken stop, Heartbeat? beat = null)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        try
        {
            while (await timer.WaitForNextTickAsync(stop))
                await worker.BeatAsync(beat);
        }
        catch (OperationCanceledException)
        {
            // Enough.
        }
    }

    [Fact]
    public async Task A_stream_that_does_not_begin_with_hello_is_refused()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var channel = GrpcChannel.ForAddress(coordinator.Host.Address);
        using var call = new WorkerGateway.WorkerGatewayClient(channel).Session(FakeWorker.Bearer(coordinator.Host.Token), cancellationToken: Cancel);
        await call.RequestStream.WriteAsync(new FromWorker { Heartbeat = new Heartbeat() }, Cancel);

        Assert.True(await call.ResponseStream.MoveNext(Cancel));
        Assert.Contains("Hello", call.ResponseStream.Current.Refused.Reason);
    }
}
