using Google.Protobuf;
using Grpc.Net.Client;
using Sora.Coordinator.Federations;
using Sora.Federation.Rounds;
using Sora.Federation.Wire;
using Sora.Protocol.Api;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Tests.Federations;

public sealed class FederationGatewayTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_federated_run_is_submitted_watched_and_listed_from_outside()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var federation = new TestFederation(coordinator, settings: TestFederation.Settings(rounds: 2, sites: 1));
        using var channel = GrpcChannel.ForAddress(coordinator.Host.Address);
        var client = Client(coordinator.Host, channel);

        await client.SubmitAsync(Request(federation.Submission), Cancel);
        await client.SubmitAsync(Request(federation.Submission), Cancel);
        Assert.Equal(("fed-test", "gathering"), Assert.Single((await client.ListAsync(Cancel)).Select(summary => (summary.Run, summary.State))));
        var site = federation.TakePartAsync("site-a", Cancel);
        var events = await TestCoordinator.ToEndAsync(client.WatchAsync("fed-test", cancellationToken: Cancel));
        await site;
        var again = await TestCoordinator.ToEndAsync(client.WatchAsync("fed-test", from: 1, Cancel));

        Assert.IsType<FederationStarted>(events[0]);
        Assert.Equal([1, 2], events.OfType<RoundCommitted>().Select(committed => committed.Round));
        Assert.Equal(events[^1], Assert.IsType<FederationFinished>(again[^1]));
        Assert.Equal([2], again.OfType<RoundCommitted>().Select(committed => committed.Round));
        Assert.Equal("finished", Assert.Single(await client.ListAsync(Cancel)).State);
    }

    [Fact]
    public async Task A_federated_run_is_stopped_from_outside_and_stays_so()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var federation = new TestFederation(coordinator);
        using var channel = GrpcChannel.ForAddress(coordinator.Host.Address);
        var client = Client(coordinator.Host, channel);
        await client.SubmitAsync(Request(federation.Submission), Cancel);
        await using var site = await federation.JoinAsync("site-a");

        await client.StopAsync("fed-test", "enough", Cancel);

        Assert.Equal(ExitCode.Resumable, (await site.HearAsync<Dismissed>()).ExitCode);
        Assert.True(await site.StreamEndsAsync());
        var stopped = Assert.IsType<FederationStopped>((await TestCoordinator.ToEndAsync(client.WatchAsync("fed-test", cancellationToken: Cancel)))[^1]);
        Assert.Equal((0, "enough"), (stopped.Round, stopped.Reason));
        await coordinator.RestartAsync();
        var run = await coordinator.Host.SubmitAsync(federation.Submission);
        Assert.Equal(stopped, Assert.Single(await TestCoordinator.ToEndAsync(run)));
        Assert.Equal("stopped", Assert.Single(await client.ListAsync(Cancel)).State);
    }

    [Fact]
    public async Task What_cannot_be_carried_out_is_refused_with_the_reason()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var federation = new TestFederation(coordinator);
        using var channel = GrpcChannel.ForAddress(coordinator.Host.Address);
        var client = Client(coordinator.Host, channel);
        var submission = federation.Submission;
        async Task<string> RefusalAsync(FederationSubmission wrong) =>
            (await Assert.ThrowsAsync<SoraException>(() => client.SubmitAsync(Request(wrong), Cancel))).Message;

        Assert.Contains("begins with fed-", await RefusalAsync(submission with { Run = submission.Run with { Run = "test" } }));
        Assert.Contains("no model", await RefusalAsync(submission with { OutputDir = Path.Combine(federation.Output, "elsewhere") }));
        Assert.Contains("SHA-256 differs", await RefusalAsync(submission with { Run = submission.Run with { Initial = new ModelVersion(0, new string('0', 64)) } }));
        Assert.Contains("control variates", await RefusalAsync(submission with { Run = submission.Run with { Settings = TestFederation.Settings() with { Strategy = new StrategySettings("scaffold") } } }));
        await client.SubmitAsync(Request(submission), Cancel);
        Assert.Contains("with other settings", await RefusalAsync(submission with { Run = submission.Run with { Seed = 8 } }));
        Assert.Contains("fed-", (await Assert.ThrowsAsync<SoraException>(() => coordinator.Host.SubmitAsync(TestCoordinator.Submission("fed-not")))).Message);
        Assert.Contains("no run fed-other", (await Assert.ThrowsAsync<SoraException>(() => client.StopAsync("fed-other", "enough", Cancel))).Message);
    }

    [Fact]
    public async Task A_run_that_does_not_outlive_its_coordinator_goes_on_when_it_is_submitted_again()
    {
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { RecoverRuns = false });
        using var federation = new TestFederation(coordinator, settings: TestFederation.Settings(rounds: 2, sites: 1));
        var before = await coordinator.Host.SubmitAsync(federation.Submission);
        await using (var site = await federation.JoinAsync("site-a"))
            await site.HearAsync<RoundAnnounced>();
        await coordinator.RestartAsync();
        Assert.IsType<FederationFailed>((await TestCoordinator.ToEndAsync(before))[^1]);

        Assert.Contains("Submit it again", (await Assert.ThrowsAsync<SoraException>(async () => await TestCoordinator.ToEndAsync(await coordinator.Host.WatchAsync("fed-test")))).Message);
        // Nobody is let in to a run that nobody carries out.
        var early = federation.TakePartAsync("site-a", Cancel);
        var events = await TestFederation.ToEndAsync(await coordinator.Host.SubmitAsync(federation.Submission), early);

        Assert.IsType<FederationResumed>(events[0]);
        Assert.Equal(2, Assert.IsType<FederationFinished>(events[^1]).Rounds);
    }

    private static SubmitFederationRequest Request(FederationSubmission submission) => new()
    {
        Run = submission.Run.Run,
        JobJson = submission.JobJson,
        FederatedRun = ByteString.CopyFrom(FederatedRunFormat.Write(submission.Run)),
        OutputDir = submission.OutputDir,
    };

    private static RunClient Client(CoordinatorHost host, GrpcChannel channel) => new([channel.CreateCallInvoker()], host.Token)
    {
        Read = RoundReportJson.Read,
        NewsFrom = from => new RoundNews(from).IsNews,
        Ends = happened => happened is FederationFinished or FederationStopped or FederationFailed,
    };
}
