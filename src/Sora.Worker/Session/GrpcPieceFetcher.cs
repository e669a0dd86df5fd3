using System.Runtime.CompilerServices;
using Grpc.Core;
using Sora.Protocol.Api;
using Sora.Protocol.Blocks;
using Sora.Protocol.Jobs;

namespace Sora.Worker.Session;

/// <summary>Pieces of one corpus from the coordinator.</summary>
internal sealed class GrpcPieceFetcher(CoordinatorClient coordinator, string corpusHash) : IPieceFetcher
{
    public async IAsyncEnumerable<(string Sha256, ReadOnlyMemory<byte> Content)> FetchAsync(
        IReadOnlyList<string> sha256, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var call = coordinator.Gateway.GetPieces(new PiecesRequest { CorpusHash = corpusHash, Sha256 = { sha256 } }, coordinator.Headers, cancellationToken: cancellationToken);
        while (await MoveNextAsync(call.ResponseStream, cancellationToken))
            yield return (call.ResponseStream.Current.Sha256, call.ResponseStream.Current.Content.Memory);
    }

    private async Task<bool> MoveNextAsync(IAsyncStreamReader<Piece> pieces, CancellationToken cancellationToken)
    {
        try
        {
            return await pieces.MoveNext(cancellationToken);
        }
        catch (RpcException e)
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw new SoraException($"A piece of the corpus cannot be fetched: {coordinator.Explain(e).Message}", ExitCode.Failure, e);
        }
    }
}
