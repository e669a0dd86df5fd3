using Grpc.Core;
using Sora.Protocol.Api;
using Sora.Protocol.Blocks;
using Sora.Worker.Work;

namespace Sora.Worker.Session;

/// <summary>Corpora as the coordinators give them out.</summary>
internal sealed class CoordinatorCorpora(CoordinatorDialer coordinators) : ICorpusSource
{
    // The training thread has nothing to do before it has the corpus, and must not leave its thread.
    public ReadOnlyMemory<byte> Manifest(string corpusHash, CancellationToken cancellationToken) =>
        Task.Run(() => ManifestAsync(corpusHash, cancellationToken), CancellationToken.None).GetAwaiter().GetResult();

    public IPieceFetcher Pieces(string corpusHash) => new GrpcPieceFetcher(coordinators, corpusHash);

    private async Task<ReadOnlyMemory<byte>> ManifestAsync(string corpusHash, CancellationToken cancellationToken)
    {
        for (CoordinatorClient? failed = null; ;)
        {
            var client = await coordinators.ClientAsync(failed, cancellationToken);
            try
            {
                var reply = await client.Gateway.GetManifestAsync(new ManifestRequest { CorpusHash = corpusHash }, client.Headers, cancellationToken: cancellationToken);
                return reply.Manifest.Memory;
            }
            catch (Exception e) when (CoordinatorDialer.IsPassing(client, e))
            {
                cancellationToken.ThrowIfCancellationRequested();
                failed = client;
            }
            catch (RpcException e)
            {
                cancellationToken.ThrowIfCancellationRequested();
                throw CoordinatorDialer.Failure($"The coordinator does not give out the corpus {corpusHash}", client, e);
            }
        }
    }
}
