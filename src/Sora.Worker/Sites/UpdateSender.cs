using Google.Protobuf;
using Grpc.Core;
using Sora.Protocol.Api;
using Sora.Worker.Session;

namespace Sora.Worker.Sites;

/// <summary>Sends the chunks of an update beside the stream.</summary>
internal static class UpdateSender
{
    /// <returns>Why the coordinator has not stored all of it; null: it has.</returns>
    /// <exception cref="CoordinatorLostException">The connection broke; what had arrived is sent no second time.</exception>
    public static async Task<string?> SendAsync(AdmittedConnection admitted, PreparedUpdate update, int firstChunk, CancellationToken cancellationToken)
    {
        try
        {
            using var call = admitted.Client.Gateway.SendUpdate(admitted.Client.Headers, cancellationToken: cancellationToken);
            await WriteAsync(call.RequestStream, admitted.Ticket, update, firstChunk, cancellationToken);
            var receipt = await call.ResponseAsync;
            return receipt.Stored ? null : receipt.Reason;
        }
        catch (RpcException e)
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw admitted.Client.Explain(e);
        }
        catch (ObjectDisposedException e)
        {
            throw new CoordinatorLostException("the stream was closed.", refused: false, e);
        }
    }

    private static async Task WriteAsync(IClientStreamWriter<UpdateChunk> requests, string ticket, PreparedUpdate update, int firstChunk, CancellationToken cancellationToken)
    {
        try
        {
            // The first message has the manifest, so there is one even when all chunks have arrived before.
            firstChunk = Math.Min(firstChunk, update.Manifest.Chunks - 1);
            for (var chunk = firstChunk; chunk < update.Manifest.Chunks; chunk++)
            {
                var message = new UpdateChunk { Chunk = (uint)chunk, Content = UnsafeByteOperations.UnsafeWrap(update.ReadChunk(chunk)) };
                if (chunk == firstChunk)
                    (message.Ticket, message.Manifest) = (ticket, UnsafeByteOperations.UnsafeWrap(update.Manifest.Write()));
                await requests.WriteAsync(message, cancellationToken);
            }
            await requests.CompleteAsync();
        }
        catch (Exception e) when (e is InvalidOperationException || (e is RpcException && !cancellationToken.IsCancellationRequested))
        {
            // The coordinator has answered before the end, or the call broke: the answer tells which.
        }
    }
}
