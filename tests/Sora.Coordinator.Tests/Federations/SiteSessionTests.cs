using Grpc.Core;
using Grpc.Net.Client;
using Sora.Federation.Identity;
using Sora.Federation.Rounds;
using Sora.Protocol.Api;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Tests.Federations;

public sealed class SiteSessionTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_key_that_is_not_registered_is_refused_at_once()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var stranger = IdentityKey.Create();
        await using var site = await FakeSite.DialAsync(coordinator.Host.Address, stranger);

        var refused = (await site.HearAsync()).Refused;

        Assert.Contains($"{stranger.Public.Fingerprint} is not registered", refused.Reason);
        Assert.Equal((uint)ExitCode.Usage, refused.ExitCode);
        Assert.True(await site.StreamEndsAsync());
    }

    [Fact]
    public async Task Whoever_names_the_key_of_a_site_without_having_it_is_refused()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var federation = new TestFederation(coordinator);
        await coordinator.Host.SubmitAsync(federation.Submission);
        using var wrong = IdentityKey.Create();
        await using var site = await FakeSite.DialAsync(coordinator.Host.Address, federation.KeyOf("site-a"));

        await site.ProveAsync(with: wrong);

        Assert.Contains("not signed by the key of 'site-a'", (await site.HearAsync()).Refused.Reason);
        Assert.True(await site.StreamEndsAsync());
    }

    [Fact]
    public async Task A_site_that_was_revoked_is_refused_the_next_time_it_dials()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var federation = new TestFederation(coordinator);
        await coordinator.Host.SubmitAsync(federation.Submission);
        await using (var before = await federation.JoinAsync("site-a"))
            Assert.Equal("site-a", before.Site);

        federation.Revoke("site-a");
        await using var site = await FakeSite.DialAsync(coordinator.Host.Address, federation.KeyOf("site-a"));

        Assert.Contains("was revoked", (await site.HearAsync()).Refused.Reason);
    }

    [Fact]
    public async Task Another_protocol_version_is_refused_with_both_numbers()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var key = IdentityKey.Create();
        await using var site = await FakeSite.DialAsync(coordinator.Host.Address, key, version: 99);

        Assert.Contains("version 99, this coordinator 1", (await site.HearAsync()).Refused.Reason);
    }

    [Theory]
    [InlineData("repeated")]
    [InlineData("changed")]
    [InlineData("skipped")]
    [InlineData("of another type")]
    [InlineData("no message")]
    [InlineData("of another site")]
    public async Task A_word_that_is_not_good_ends_the_stream_and_changes_nothing(string wrong)
    {
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { AbsenceLimit = TimeSpan.FromHours(1) });
        using var federation = new TestFederation(coordinator, settings: TestFederation.Settings(rounds: 1, sites: 1));
        var run = await coordinator.Host.SubmitAsync(federation.Submission);
        await using var site = await federation.JoinAsync("site-a");
        var key = (await site.HearAsync<RoundAnnounced>()).Round;
        var refusal = new RoundRefused(site.Run, key, "no", ForJob: true);

        SiteWord word;
        switch (wrong)
        {
            case "of another site": word = site.Sign(new SiteHello(site.Run, "site-b", "other", "", null, Draining: false)); break;
            case "no message": word = site.SignBytes("refusal", [1, 2, 3]); break;
            case "repeated":
                word = site.Sign(new RoundAccepted(site.Run, key));
                await site.SayAsync(new FromWorker { SiteWord = word });
                break;
            case "changed":
                word = site.Sign(refusal);
                word.Content = site.Sign(new RoundFailed(site.Run, key, "no")).Content;
                break;
            case "skipped":
                site.Sign(refusal);
                word = site.Sign(refusal);
                break;
            default:
                word = site.Sign(refusal);
                word.Type = "heartbeat";
                break;
        }
        await site.SayAsync(new FromWorker { SiteWord = word });

        Assert.True(await site.StreamEndsAsync());
        // It is asked again on its next stream, as if nothing had been said.
        await federation.TakePartAsync("site-a", Cancel);
        Assert.IsType<FederationFinished>((await TestCoordinator.ToEndAsync(run))[^1]);
    }

    [Fact]
    public async Task A_ticket_is_good_as_long_as_its_stream()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var federation = new TestFederation(coordinator);
        await coordinator.Host.SubmitAsync(federation.Submission);
        var site = await federation.JoinAsync("site-a");
        var model = federation.Submission.Run.Initial;
        using var channel = GrpcChannel.ForAddress(coordinator.Host.Address);
        var client = new WorkerGateway.WorkerGatewayClient(channel);

        Assert.Equal(federation.Initial, await site.FetchAsync(model));
        var unknown = await Assert.ThrowsAsync<RpcException>(() => FetchAsync(client, new ModelRequest { Ticket = "guessed", Number = 0, Sha256 = model.Sha256 }));
        var other = await Assert.ThrowsAsync<RpcException>(() => FetchAsync(client, new ModelRequest { Ticket = site.Admission.Ticket, Number = 0, Sha256 = "other" }));
        site.Die();
        using var patience = TestCoordinator.Patience();
        RpcException? late = null;
        while (late is null && !patience.IsCancellationRequested)
        {
            late = await Record.ExceptionAsync(() => FetchAsync(client, new ModelRequest { Ticket = site.Admission.Ticket, Number = 0, Sha256 = model.Sha256 })) as RpcException;
            await Task.Yield();
        }

        Assert.Equal((StatusCode.Unauthenticated, StatusCode.NotFound, StatusCode.Unauthenticated), (unknown.StatusCode, other.StatusCode, late!.StatusCode));
    }

    [Fact]
    public async Task A_site_waits_until_there_is_a_run()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var federation = new TestFederation(coordinator);
        await using var site = await FakeSite.DialAsync(coordinator.Host.Address, federation.KeyOf("site-a"));
        await coordinator.Host.SubmitAsync(federation.Submission);

        await site.JoinAsync();

        Assert.Equal(federation.Submission.Run.Run, site.Run);
        Assert.Equal(federation.Submission.JobJson, site.Admission.JobJson);
        Assert.Equal(federation.Submission.Run, Sora.Federation.Wire.FederatedRunFormat.Read(site.Admission.FederatedRun.Memory));
    }

    [Fact]
    public async Task A_site_of_a_run_that_is_over_is_sent_home()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var federation = new TestFederation(coordinator, settings: TestFederation.Settings(rounds: 1, sites: 1));
        var run = await coordinator.Host.SubmitAsync(federation.Submission);
        await TestFederation.ToEndAsync(run, federation.TakePartAsync("site-a", Cancel));

        await using var late = await FakeSite.DialAsync(coordinator.Host.Address, federation.KeyOf("site-b"), run.Run);

        Assert.Equal(("the run is finished", 0u), (await late.HearAsync()).Goodbye is { } goodbye ? (goodbye.Reason, goodbye.ExitCode) : default);
    }

    private static async Task FetchAsync(WorkerGateway.WorkerGatewayClient client, ModelRequest request)
    {
        using var call = client.GetModel(request, cancellationToken: Cancel);
        await foreach (var chunk in call.ResponseStream.ReadAllAsync(Cancel))
            Assert.NotEmpty(chunk.Content);
    }
}
