using System.Buffers;
using System.Security.Cryptography;

namespace Sora.Federation.Aggregation.Updates;

/// <summary>The site's side: an update encoded into a file and cut into chunks, which can be sent, and sent again, in any order.</summary>
public sealed class EncodedUpdate
{
    private readonly string _path;

    private EncodedUpdate(UpdateManifest manifest, string path) => (Manifest, _path) = (manifest, path);

    /// <summary>What to announce.</summary>
    public UpdateManifest Manifest { get; }

    /// <summary>Encodes <paramref name="values"/> into the file <paramref name="path"/>, which stays until the round is closed.</summary>
    public static EncodedUpdate Create(string path, string site, long round, double weight, ReadOnlySpan<float> values,
        UpdateEncoding encoding = UpdateEncoding.Float32, RoundingMode rounding = RoundingMode.Nearest, ulong seed = 0,
        int chunkBytes = UpdateManifest.DefaultChunkBytes)
    {
        var bytes = ArrayPool<byte>.Shared.Rent((int)UpdateCodec.EncodedBytes(encoding, SiteUpdate.RunValues));
        try
        {
            using var file = new FileStream(path, FileMode.Create, FileAccess.ReadWrite);
            using var whole = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            for (var first = 0; first < values.Length; first += SiteUpdate.RunValues)
            {
                var run = values.Slice(first, Math.Min(SiteUpdate.RunValues, values.Length - first));
                var encoded = bytes.AsSpan(0, (int)UpdateCodec.EncodedBytes(encoding, run.Length));
                UpdateCodec.Encode(encoding, run, first, encoded, rounding, seed);
                whole.AppendData(encoded);
                file.Write(encoded);
            }
            var chunkHashes = ChunkHashes(file, chunkBytes);
            return new EncodedUpdate(new UpdateManifest(site, round, values.Length, weight, encoding, chunkBytes, whole.GetHashAndReset(), chunkHashes), path);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
        }
    }

    /// <summary>The bytes of one chunk.</summary>
    public byte[] ReadChunk(int chunk)
    {
        var bytes = new byte[Manifest.ChunkLength(chunk)];
        using var file = File.OpenHandle(_path);
        SpilledUpdate.ReadFully(file, bytes, Manifest.ChunkOffset(chunk));
        return bytes;
    }

    private static byte[] ChunkHashes(FileStream file, int chunkBytes)
    {
        var chunks = (int)((file.Length + chunkBytes - 1) / chunkBytes);
        var hashes = new byte[chunks * SHA256.HashSizeInBytes];
        var chunk = new byte[chunkBytes];
        file.Position = 0;
        for (var i = 0; i < chunks; i++)
        {
            var length = file.ReadAtLeast(chunk, chunkBytes, throwOnEndOfStream: false);
            SHA256.HashData(chunk.AsSpan(0, length), hashes.AsSpan(i * SHA256.HashSizeInBytes));
        }
        return hashes;
    }
}
