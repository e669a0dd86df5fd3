using System.Security.Cryptography;

namespace Sora.Federation.Aggregation.Updates;

/// <summary>An update that is arriving: a file, and which chunks of it are there. The chunks themselves are never kept in memory.</summary>
internal sealed class InFlightUpdate
{
    private readonly bool[] _arrived;
    private readonly string _path;

    public InFlightUpdate(UpdateManifest manifest, string path)
    {
        (Manifest, _path, _arrived, Left) = (manifest, path, new bool[manifest.Chunks], manifest.Chunks);
    }

    public UpdateManifest Manifest { get; }

    public string Path => _path;

    public int Left { get; private set; }

    /// <summary>Recognises the chunks that an earlier process wrote, by their hashes: no separate record of them could be wrong.</summary>
    public static InFlightUpdate Reopen(UpdateManifest manifest, string path)
    {
        var update = new InFlightUpdate(manifest, path);
        if (!File.Exists(path))
            return update;
        using var file = File.OpenHandle(path);
        var length = RandomAccess.GetLength(file);
        var buffer = new byte[(int)Math.Min(manifest.ChunkBytes, manifest.Bytes)];
        for (var chunk = 0; chunk < manifest.Chunks; chunk++)
        {
            var content = buffer.AsSpan(0, manifest.ChunkLength(chunk));
            if (manifest.ChunkOffset(chunk) + content.Length > length)
                break;
            SpilledUpdate.ReadFully(file, content, manifest.ChunkOffset(chunk));
            if (update.Matches(chunk, content))
                update.Mark(chunk);
        }
        return update;
    }

    public bool Has(int chunk) => _arrived[chunk];

    public bool Matches(int chunk, ReadOnlySpan<byte> content)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(content, hash);
        return hash.SequenceEqual(Manifest.ChunkHash(chunk));
    }

    public void Write(int chunk, ReadOnlySpan<byte> content)
    {
        using (var file = File.OpenHandle(_path, FileMode.OpenOrCreate, FileAccess.Write))
            RandomAccess.Write(file, content, Manifest.ChunkOffset(chunk));
        Mark(chunk);
    }

    public IReadOnlyList<ChunkRange> Missing()
    {
        var ranges = new List<ChunkRange>();
        for (var chunk = 0; chunk < _arrived.Length; chunk++)
        {
            if (_arrived[chunk])
                continue;
            var first = chunk;
            while (chunk < _arrived.Length && !_arrived[chunk])
                chunk++;
            ranges.Add(new ChunkRange(first, chunk - first));
        }
        return ranges;
    }

    private void Mark(int chunk)
    {
        _arrived[chunk] = true;
        Left--;
    }
}
