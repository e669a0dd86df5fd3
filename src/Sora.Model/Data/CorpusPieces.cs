using Sora.Protocol.Blocks;

namespace Sora.Model.Data;

/// <summary>The coordinator's side: gives out the pieces of a prepared corpus (shards, document boundaries and the tokenizer's files) by hash.</summary>
public sealed class CorpusPieces : IPieceSource
{
    private readonly string _folder;
    private readonly int _pieceBytes;
    private readonly Dictionary<string, (ManifestFile File, long Offset)> _places = [];

    /// <summary>Serves a corpus; keeps nothing open.</summary>
    public CorpusPieces(PreparedCorpus corpus)
    {
        _folder = corpus.Folder;
        _pieceBytes = corpus.Manifest.PieceBytes;
        Manifest = corpus.ManifestBytes;
        foreach (var file in corpus.Manifest.Files)
            for (var piece = 0; piece < file.Pieces.Count; piece++)
                _places.TryAdd(file.Pieces[piece], (file, (long)piece * _pieceBytes));
    }

    /// <inheritdoc />
    public ReadOnlyMemory<byte> Manifest { get; }

    /// <inheritdoc />
    public async ValueTask<ReadOnlyMemory<byte>?> ReadAsync(string sha256, CancellationToken cancellationToken)
    {
        if (!_places.TryGetValue(sha256, out var place)) return null;
        using var file = File.OpenHandle(Path.Combine(_folder, place.File.Name), options: FileOptions.Asynchronous | FileOptions.RandomAccess);
        var content = new byte[Math.Min(_pieceBytes, place.File.Bytes - place.Offset)];
        for (var filled = 0; filled < content.Length;)
        {
            var read = await RandomAccess.ReadAsync(file, content.AsMemory(filled), place.Offset + filled, cancellationToken);
            if (read == 0) throw new EndOfStreamException($"{place.File.Name} is shorter than its manifest says.");
            filled += read;
        }
        return content;
    }
}
