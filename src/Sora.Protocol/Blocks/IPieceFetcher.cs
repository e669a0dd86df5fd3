namespace Sora.Protocol.Blocks;

/// <summary>The worker's side of <see cref="IPieceSource"/>: asks the coordinator for pieces by content hash.</summary>
public interface IPieceFetcher
{
    /// <summary>Fetches pieces in the order asked for. The caller checks the hashes.</summary>
    IAsyncEnumerable<(string Sha256, ReadOnlyMemory<byte> Content)> FetchAsync(IReadOnlyList<string> sha256, CancellationToken cancellationToken);
}
