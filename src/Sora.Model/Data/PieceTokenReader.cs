using System.Buffers;

namespace Sora.Model.Data;

/// <summary>Reads shards piece by piece out of a <see cref="PieceStore"/>.</summary>
internal sealed class PieceTokenReader(CorpusManifest manifest, PieceStore store) : ITokenReader
{
    public double WaitSeconds => store.WaitSeconds;

    public void Read(TokenRange range, Span<int> tokens)
    {
        var file = FileOf(range);
        var bytes = ArrayPool<byte>.Shared.Rent(range.Count * manifest.TokenBytes);
        try
        {
            var rest = bytes.AsSpan(0, range.Count * manifest.TokenBytes);
            var offset = range.Offset * manifest.TokenBytes;
            while (!rest.IsEmpty)
            {
                var (piece, inPiece) = Math.DivRem(offset, manifest.PieceBytes);
                var count = (int)Math.Min(rest.Length, manifest.PieceBytes - inPiece);
                store.Read(file.Pieces[(int)piece], (int)inPiece, rest[..count]);
                rest = rest[count..];
                offset += count;
            }
            TokenBytes.Widen(bytes.AsSpan(0, range.Count * manifest.TokenBytes), tokens, manifest.TokenBytes);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
        }
    }

    public void Announce(IEnumerable<TokenRange> ranges) => store.Announce(ranges.SelectMany(Pieces));

    public void Dispose() => store.Dispose();

    private IEnumerable<string> Pieces(TokenRange range)
    {
        var file = FileOf(range);
        var first = range.Offset * manifest.TokenBytes / manifest.PieceBytes;
        var last = (((range.Offset + range.Count) * manifest.TokenBytes) - 1) / manifest.PieceBytes;
        for (var piece = first; piece <= last; piece++)
            yield return file.Pieces[(int)piece];
    }

    private ManifestFile FileOf(TokenRange range) => (range.Validation ? manifest.Validation : manifest.Train).Shards[range.Shard].File;
}
