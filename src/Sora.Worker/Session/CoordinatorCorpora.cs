using Grpc.Core;
using Sora.Protocol.Api;
using Sora.Protocol.Blocks;
using Sora.Protocol.Jobs;
using Sora.Worker.Work;

namespace Sora.Worker.Session;

/// <summary>Corpora as the coordinator gives them out.</summary>
internal sealed class CoordinatorCorpora(CoordinatorClient coordinator) : ICorpusSource
{
    public ReadOnlyMemory<byte> Manifest(string corpusHash, CancellationToken cancellationToken)
    {
        try
        {
            return coordinator.Gateway.GetManifest(new ManifestRequest { CorpusHash = corpusHash }, coordinator.Headers, cancellationToken: cancellationToken).Manifest.Memory;
        }
        catch (RpcException e)
        {
            throw new SoraException($"The coordinator does not give out the corpus {corpusHash}: {coordinator.Explain(e).Message}", ExitCode.Failure, e);
        }
    }

    public IPieceFetcher Pieces(string corpusHash) => new GrpcPieceFetcher(coordinator, corpusHash);
}
