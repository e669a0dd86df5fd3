using System.Threading.Channels;
using Akka.Actor;
using Akka.Hosting;
using Google.Protobuf;
using Grpc.Core;
using Microsoft.Extensions.Logging;
using Sora.Coordinator.Corpora;
using Sora.Coordinator.Federations;
using Sora.Protocol.Api;
using Sora.Protocol.Blocks;
using Status = Grpc.Core.Status;

namespace Sora.Coordinator.Workers;

/// <summary>What workers may call. Sessions wait for the actors; the listener is up before they are.</summary>
internal sealed class WorkerGatewayService(CoordinatorActors actors, CorpusDirectory corpora, CoordinatorIdentity identity, SiteTickets tickets, CoordinatorOptions options) : WorkerGateway.WorkerGatewayBase
{
    private readonly SiteTransfers _transfers = new(tickets);
    private readonly ILogger _sessionLog = options.LoggerFactory.CreateLogger<WorkerSession>();

    public override async Task Session(IAsyncStreamReader<FromWorker> requestStream, IServerStreamWriter<FromCoordinator> responseStream, ServerCallContext context)
    {
        var (system, pool) = await actors.Ready.WaitAsync(context.CancellationToken);
        var outbound = Channel.CreateUnbounded<FromCoordinator>(new UnboundedChannelOptions { SingleReader = true });
        var door = new SiteDoor(ActorRegistry.For(system).Get<FederationPool>(), identity, tickets);
        var session = system.ActorOf(WorkerSession.Props(pool, door, BearerTokenInterceptor.IsTrusted(context), outbound.Writer, options.WorkerSilenceLimit, _sessionLog));
        _ = ListenAsync(requestStream, session, context.CancellationToken);
        try
        {
            await foreach (var message in outbound.Reader.ReadAllAsync(context.CancellationToken))
                await responseStream.WriteAsync(message, context.CancellationToken);
        }
        catch (Exception exception) when (context.CancellationToken.IsCancellationRequested && exception is (IOException or OperationCanceledException or InvalidOperationException))
        {
            // The worker is gone; the listener tells the session.
        }
    }

    public override Task<UpdateReceipt> SendUpdate(IAsyncStreamReader<UpdateChunk> requestStream, ServerCallContext context) =>
        _transfers.TakeUpdateAsync(requestStream, context.CancellationToken);

    public override Task GetModel(ModelRequest request, IServerStreamWriter<ModelChunk> responseStream, ServerCallContext context) =>
        _transfers.GiveModelAsync(request, responseStream, context.CancellationToken);

    public override async Task<ManifestReply> GetManifest(ManifestRequest request, ServerCallContext context) =>
        new() { Manifest = UnsafeByteOperations.UnsafeWrap((await FindCorpusAsync(request.CorpusHash, context)).Manifest) };

    public override async Task GetPieces(PiecesRequest request, IServerStreamWriter<Piece> responseStream, ServerCallContext context)
    {
        var source = await FindCorpusAsync(request.CorpusHash, context);
        foreach (var hash in request.Sha256)
        {
            var content = await source.ReadAsync(hash, context.CancellationToken)
                ?? throw new RpcException(new Status(StatusCode.NotFound, $"The corpus {request.CorpusHash} has no piece {hash}."));
            // The await is the back-pressure: a worker that reads slowly holds one piece here, not all of them.
            await responseStream.WriteAsync(new Piece { Sha256 = hash, Content = UnsafeByteOperations.UnsafeWrap(content) }, context.CancellationToken);
        }
    }

    private async Task<IPieceSource> FindCorpusAsync(string hash, ServerCallContext context) =>
        await corpora.FindAsync(hash, options.CorpusPatience, context.CancellationToken)
        ?? throw new RpcException(new Status(StatusCode.NotFound, $"No run that goes on uses the corpus {hash}, or its folder cannot be read from this coordinator."));

    private static async Task ListenAsync(IAsyncStreamReader<FromWorker> requests, IActorRef session, CancellationToken cancellationToken)
    {
        try
        {
            while (await requests.MoveNext(cancellationToken))
                session.Tell(requests.Current);
            session.Tell(new StreamClosed("it closed its connection."));
        }
        catch (Exception exception) when (exception is IOException or OperationCanceledException or RpcException or InvalidOperationException)
        {
            session.Tell(new StreamClosed("its connection broke."));
        }
    }
}
