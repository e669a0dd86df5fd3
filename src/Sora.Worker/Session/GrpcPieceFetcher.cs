using System.Runtime.CompilerServices;
using Grpc.Core;
using Sora.Protocol.Api;
using Sora.Protocol.Blocks;

namespace Sora.Worker.Session;

/// <summary>Pieces of one corpus, from whichever coordinator is there: a request that breaks is made again for what it still lacks.</summary>
internal sealed class GrpcPieceFetcher(CoordinatorDialer coordinators, string corpusHash) : IPieceFetcher
{
    public async IAsyncEnumerable<(string Sha256, ReadOnlyMemory<byte> Content)> FetchAsync(
        IReadOnlyList<string> sha256, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        CoordinatorClient? failed = null;
        for (var arrived = 0; arrived < sha256.Count;)
        {
            var client = await coordinators.ClientAsync(failed, cancellationToken);
            using var request = new Request(client, new PiecesRequest { CorpusHash = corpusHash, Sha256 = { sha256.Skip(arrived) } }, cancellationToken);
            for (; await request.MoveNextAsync(); arrived++)
                yield return (request.Current.Sha256, request.Current.Content.Memory);
            if (!request.Broke)
                yield break;
            failed = client;
        }
    }

    /// <summary>One call, which ends early when its connection does.</summary>
    private sealed class Request(CoordinatorClient client, PiecesRequest pieces, CancellationToken cancellationToken) : IDisposable
    {
        private AsyncServerStreamingCall<Piece>? _call;

        public bool Broke { get; private set; }

        public Piece Current => _call!.ResponseStream.Current;

        public async Task<bool> MoveNextAsync()
        {
            try
            {
                _call ??= client.Gateway.GetPieces(pieces, client.Headers, cancellationToken: cancellationToken);
                return await _call.ResponseStream.MoveNext(cancellationToken);
            }
            catch (Exception e) when (CoordinatorDialer.IsPassing(client, e))
            {
                cancellationToken.ThrowIfCancellationRequested();
                Broke = true;
                return false;
            }
            catch (RpcException e)
            {
                cancellationToken.ThrowIfCancellationRequested();
                throw CoordinatorDialer.Failure("A piece of the corpus cannot be fetched", client, e);
            }
        }

        public void Dispose() => _call?.Dispose();
    }
}
