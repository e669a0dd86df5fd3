namespace Sora.Protocol.Blocks;

/// <summary>
/// A piece: a fixed-size run of bytes of one corpus file, named by the SHA-256 of its content. What travels when a worker
/// has no copy of the corpus.
/// </summary>
public interface IPieceSource
{
    /// <summary>The corpus manifest as it lies on disk (UTF-8 JSON); its SHA-256 is the corpus hash.</summary>
    ReadOnlyMemory<byte> Manifest { get; }

    /// <summary>The bytes of a piece, or null when this source does not know the hash (lower-case hex).</summary>
    ValueTask<ReadOnlyMemory<byte>?> ReadAsync(string sha256, CancellationToken cancellationToken);
}
