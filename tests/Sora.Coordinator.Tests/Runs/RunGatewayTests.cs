using Grpc.Core;
using Grpc.Net.Client;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Tests.Runs;

public sealed class RunGatewayTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_run_is_submitted_watched_and_listed_from_outside()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var channel = GrpcChannel.ForAddress(coordinator.Host.Address);
        var client = Client(coordinator.Host, channel);

        var run = await client.SubmitAsync(Request("remote"), Cancel);
        Assert.Equal("remote", await client.SubmitAsync(Request("remote"), Cancel));
        Assert.Equal("gathering", Assert.Single(await client.ListAsync(Cancel)).State);
        await using var worker = await FakeWorker.DialAsync(coordinator.Host, "w1");
        var generation = await FakeWorker.BeginAsync(worker);
        await worker.StepAsync(generation, 1);
        await using var watched = client.WatchAsync(run, cancellationToken: Cancel).GetAsyncEnumerator(Cancel);
        var events = new List<RunEvent>();
        while (events is not [.., StepCommitted] && await watched.MoveNextAsync())
            events.Add(watched.Current);
        await worker.StepAsync(generation, 2);
        await worker.FinishRunAsync(generation);
        while (await watched.MoveNextAsync())
            events.Add(watched.Current);

        Assert.Equal(("remote", 3L, 1), (((RunStarted)events[0]).Name, ((RunStarted)events[0]).MaxSteps, ((RunStarted)events[0]).Workers));
        Assert.Equal([1L, 2L], events.OfType<StepCommitted>().Select(step => step.Step));
        Assert.Equal("weights", Assert.IsType<RunFinished>(events[^1]).WeightsSha256);
        Assert.Equal(("remote", "finished"), Assert.Single((await client.ListAsync(Cancel)).Select(summary => (summary.Run, summary.State))));
    }

    [Fact]
    public async Task A_run_is_stopped_from_outside()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var channel = GrpcChannel.ForAddress(coordinator.Host.Address);
        var client = Client(coordinator.Host, channel);
        var run = await client.SubmitAsync(Request(""), Cancel);

        await client.StopAsync(run, "enough", Cancel);

        Assert.Equal("enough", Assert.IsType<RunStopped>((await TestCoordinator.ToEndAsync(client.WatchAsync(run, cancellationToken: Cancel)))[^1]).Reason);
    }

    [Fact]
    public async Task Watching_goes_on_where_it_was_when_the_coordinator_is_started_again()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var channel = GrpcChannel.ForAddress(coordinator.Host.Address);
        var client = Client(coordinator.Host, channel);
        await client.SubmitAsync(Request("watched"), Cancel);
        await using var worker = await FakeWorker.DialAsync(coordinator.Host, "w1");
        var generation = await FakeWorker.BeginAsync(worker);
        await worker.StepAsync(generation, 1);
        await using var events = client.WatchAsync("watched", cancellationToken: Cancel).GetAsyncEnumerator(Cancel);
        var seen = new List<RunEvent>();
        while (seen is not [.., StepCommitted] && await events.MoveNextAsync())
            seen.Add(events.Current);

        await coordinator.CrashAsync();
        await using var again = await FakeWorker.DialAsync(coordinator.Host, "w1", FakeWorker.Training(generation, "w1", 1));
        await again.StepAsync(generation, 2);
        await again.FinishRunAsync(generation);
        // The run is over before its watcher is back.
        Assert.NotNull((await again.HearAsync()).Goodbye);
        while (await events.MoveNextAsync())
            seen.Add(events.Current);

        Assert.Single(seen.OfType<RunStarted>());
        Assert.Equal([1L, 2L], seen.OfType<StepCommitted>().Select(step => step.Step));
        Assert.Single(seen.OfType<GenerationFormed>());
        Assert.IsType<RunFinished>(seen[^1]);
    }

    [Fact]
    public async Task What_cannot_be_done_is_said_in_words()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var channel = GrpcChannel.ForAddress(coordinator.Host.Address);
        var client = Client(coordinator.Host, channel);
        await client.SubmitAsync(Request("taken"), Cancel);
        var many = Request("many");
        many.Workers = 99;
        var broken = Request("broken");
        broken.JobJson = "not a job";
        var other = Request("taken");
        other.OutputDir = "/elsewhere";

        SoraException[] errors =
        [
            await Assert.ThrowsAsync<SoraException>(() => client.SubmitAsync(many, Cancel)),
            await Assert.ThrowsAsync<SoraException>(() => client.SubmitAsync(broken, Cancel)),
            await Assert.ThrowsAsync<SoraException>(() => client.SubmitAsync(other, Cancel)),
            await Assert.ThrowsAsync<SoraException>(() => TestCoordinator.ToEndAsync(client.WatchAsync("nowhere", cancellationToken: Cancel))),
            await Assert.ThrowsAsync<SoraException>(() => client.StopAsync("nowhere", "why not", Cancel)),
            await Assert.ThrowsAsync<SoraException>(() => new RunClient([channel.CreateCallInvoker()], "wrong").ListAsync(Cancel)),
        ];

        Assert.All(errors, error => Assert.Equal(ExitCode.Usage, error.ExitCode));
        Assert.Equal(["99 workers", "stored job", "going on already", "nowhere", "nowhere", "token"], errors.Zip(["99 workers", "stored job", "going on already", "nowhere", "nowhere", "token"], (error, part) => error.Message.Contains(part, StringComparison.Ordinal) ? part : error.Message));
        await client.StopAsync("taken", "done", Cancel);
    }

    [Fact]
    public async Task Coordinators_that_do_not_answer_are_given_up_after_a_while()
    {
        using var nobody = GrpcChannel.ForAddress("http://127.0.0.1:1");
        var client = new RunClient([nobody.CreateCallInvoker()], "token") { Patience = TimeSpan.Zero, Addresses = ["http://127.0.0.1:1", "http://other:2"] };

        var error = await Assert.ThrowsAsync<SoraException>(() => client.ListAsync(Cancel));

        Assert.Equal(ExitCode.Unreachable, error.ExitCode);
        Assert.StartsWith("No coordinator answers at http://127.0.0.1:1 or http://other:2: ", error.Message);
        Assert.DoesNotContain("..", error.Message);
    }

    [Fact]
    public async Task A_coordinator_that_ends_says_so_to_every_call_and_fails_over_none()
    {
        var log = new WarningLog();
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { LoggerFactory = log });
        using var channel = GrpcChannel.ForAddress(coordinator.Host.Address);
        await Client(coordinator.Host, channel).SubmitAsync(Request("going-on"), Cancel);
        var client = new RunClient([channel.CreateCallInvoker()], coordinator.Host.Token) { Patience = TimeSpan.Zero };
        var (system, _) = await coordinator.Host.Actors;
        await system.Terminate();

        SoraException[] errors =
        [
            await Assert.ThrowsAsync<SoraException>(() => client.SubmitAsync(Request("another"), Cancel)),
            await Assert.ThrowsAsync<SoraException>(() => TestCoordinator.ToEndAsync(client.WatchAsync("going-on", cancellationToken: Cancel))),
            await Assert.ThrowsAsync<SoraException>(() => client.StopAsync("going-on", "why not", Cancel)),
            await Assert.ThrowsAsync<SoraException>(() => client.ListAsync(Cancel)),
        ];
        using var session = new WorkerGateway.WorkerGatewayClient(channel).Session(FakeWorker.Bearer(coordinator.Host.Token), cancellationToken: Cancel);
        var ended = await Assert.ThrowsAsync<RpcException>(() => session.ResponseStream.MoveNext(Cancel));

        Assert.All(errors, error => Assert.Equal((ExitCode.Unreachable, true), (error.ExitCode, error.Message.Contains("starting or ending", StringComparison.Ordinal))));
        Assert.Equal(StatusCode.Unavailable, ended.StatusCode);
        Assert.Empty(log.Lines);
    }

    private static RunClient Client(CoordinatorHost host, GrpcChannel channel) => new([channel.CreateCallInvoker()], host.Token) { RetryDelay = TimeSpan.FromMilliseconds(100) };

    private static SubmitRunRequest Request(string run) => new()
    {
        Run = run,
        JobJson = JobJson.Write(new TrainingJob { Name = "remote", Lanes = 4, MaxSteps = 3 }),
        CorpusHash = "corpus",
        CorpusDir = "/corpus",
        OutputDir = "/output",
        Workers = 1,
    };
}
