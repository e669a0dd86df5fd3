using System.Runtime.CompilerServices;
using Grpc.Core;
using Sora.Protocol.Api;
using Sora.Protocol.Blocks;

namespace Sora.Worker.Session;

/// <summary>Pieces of one corpus from the coordinator.</summary>
internal sealed class GrpcPieceFetcher(CoordinatorClient coordinator, string corpusHash) : IPieceFetcher
{
    public async IAsyncEnumerable<(string Sha256, ReadOnlyMemory<byte> Content)> FetchAsync(
        IReadOnlyList<string> sha256, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var call = coordinator.Gateway.GetPieces(new PiecesRequest { CorpusHash = corpusHash, Sha256 = { sha256 } }, coordinator.Headers, cancellationToken: cancellationToken);
        await foreach (var piece in call.ResponseStream.ReadAllAsync(cancellationToken))
            yield return (piece.Sha256, piece.Content.Memory);
    }
}
