using Sora.Protocol.Blocks;

namespace Sora.Worker.Work;

/// <summary>Where a corpus comes from that is not on this machine.</summary>
internal interface ICorpusSource
{
    /// <summary>The manifest, byte for byte.</summary>
    ReadOnlyMemory<byte> Manifest(string corpusHash, CancellationToken cancellationToken);

    /// <summary>Its pieces.</summary>
    IPieceFetcher Pieces(string corpusHash);
}
