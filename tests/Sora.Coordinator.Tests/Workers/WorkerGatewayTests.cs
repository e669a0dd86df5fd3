using System.Text;
using Grpc.Core;
using Grpc.Net.Client;
using Sora.Protocol.Api;
using Sora.Protocol.Runs;

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
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { Token = "right but without the scheme" });
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

        Assert.Contains("version 99, this coordinator 1", (await worker.HearAsync()).Refused.Reason);
        Assert.True(await worker.StreamEndsAsync());
    }

    [Fact]
    public async Task A_second_worker_of_the_same_name_is_turned_away()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("twins"));
        await using var first = await FakeWorker.DialAsync(coordinator.Host, "w1");
        Assert.NotNull((await first.HearAsync()).Assignment);
        await using var twin = await FakeWorker.DialAsync(coordinator.Host, "w1");

        Assert.Contains("'w1' is connected already", (await twin.HearAsync()).Refused.Reason);
        await run.StopAsync("done");
        Assert.NotNull((await first.HearAsync()).Goodbye);
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
