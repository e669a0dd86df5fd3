using Akka.Actor;
using Google.Protobuf;
using Grpc.Core;
using Sora.Federation.Aggregation.Updates;
using Sora.Federation.Rounds;
using Sora.Protocol.Api;
using Sora.Protocol.Jobs;
using Status = Grpc.Core.Status;

namespace Sora.Coordinator.Federations;

/// <summary>The large transfers beside a site's stream: updates in, models out, a chunk in memory at a time.</summary>
internal sealed class SiteTransfers(SiteTickets tickets)
{
    private const int ModelChunkBytes = 1 << 18;

    public async Task<UpdateReceipt> TakeUpdateAsync(IAsyncStreamReader<UpdateChunk> chunks, CancellationToken cancellationToken)
    {
        if (!await chunks.MoveNext(cancellationToken))
            throw new RpcException(new Status(StatusCode.InvalidArgument, "An update begins with its ticket and its manifest."));
        var ticket = Find(chunks.Current.Ticket);
        try
        {
            return await TakeUpdateAsync(ticket, chunks, cancellationToken);
        }
        catch (Exception e) when (e is ObjectDisposedException or UnauthorizedAccessException or SoraException || (e is IOException && !cancellationToken.IsCancellationRequested))
        {
            // The run has moved to another coordinator, or this one's disk is full: the site offers the update again.
            return new UpdateReceipt { Reason = $"The coordinator cannot store the update now: {e.Message}" };
        }
    }

    private static async Task<UpdateReceipt> TakeUpdateAsync(SiteTicket ticket, IAsyncStreamReader<UpdateChunk> chunks, CancellationToken cancellationToken)
    {
        var (arrival, reception) = await ticket.Store.BeginAsync(ticket.Site, ReadManifest(chunks.Current));
        if (arrival is null)
            return new UpdateReceipt { Reason = reception.Refusal };
        // The first message may hold a chunk already.
        var pending = chunks.Current.Content.Length > 0;
        while (!reception.Stored && reception.Refusal is null && (pending || await chunks.MoveNext(cancellationToken)))
        {
            pending = false;
            reception = await ticket.Store.AcceptAsync(arrival, (int)Math.Min(chunks.Current.Chunk, int.MaxValue), chunks.Current.Content.Memory);
        }
        if (reception.Stored)
            ticket.Entity.Tell(new FederationProgressed(new UpdateStored(arrival.Offer)));
        else if (reception is { Final: true, Refusal: { } refusal })
            ticket.Entity.Tell(new FederationProgressed(new UpdateRejected(arrival.Offer.Id, refusal)));
        return new UpdateReceipt { Stored = reception.Stored, Reason = reception.Stored ? "" : reception.Refusal ?? "Chunks are missing; offer the update again and send the rest." };
    }

    public async Task GiveModelAsync(ModelRequest request, IServerStreamWriter<ModelChunk> response, CancellationToken cancellationToken)
    {
        var ticket = Find(request.Ticket);
        using var file = ticket.Store.OpenModel((int)Math.Min(request.Number, int.MaxValue), request.Sha256)
            ?? throw new RpcException(new Status(StatusCode.NotFound, $"There is no model {request.Number} of run {ticket.Run} with that SHA-256."));
        var buffer = new byte[ModelChunkBytes];
        while (await file.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellationToken) is var read and > 0)
            // Written before the await returns, so the buffer is free again; the await is the back-pressure.
            await response.WriteAsync(new ModelChunk { Content = UnsafeByteOperations.UnsafeWrap(buffer.AsMemory(0, read)) }, cancellationToken);
    }

    private SiteTicket Find(string text) => tickets.TryFind(text, out var ticket)
        ? ticket
        : throw new RpcException(new Status(StatusCode.Unauthenticated, "The ticket is of no stream that stands. Dial in again."));

    private static UpdateManifest ReadManifest(UpdateChunk first)
    {
        try
        {
            return UpdateManifest.Read(first.Manifest.Memory);
        }
        catch (InvalidUpdateException wrong)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, wrong.Message));
        }
    }
}
