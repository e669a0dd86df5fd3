using System.Buffers;
using System.Security.Cryptography;

namespace Sora.Federation.Aggregation.Updates;

/// <summary>A whole update in a file, still encoded; it is decoded run by run as it is read.</summary>
public sealed class SpilledUpdate : SiteUpdate
{
    private readonly UpdateManifest _manifest;

    private SpilledUpdate(UpdateManifest manifest, string path, double norm) : base(manifest.Site, manifest.Weight, manifest.Round, manifest.Parameters)
    {
        (_manifest, Path, Norm) = (manifest, path, norm);
    }

    /// <summary>The file.</summary>
    internal string Path { get; private set; }

    /// <summary>What the site announced.</summary>
    public UpdateManifest Manifest => _manifest;

    /// <summary>Reads the whole file once: its hash, that every number is finite and within the limit, and its norm.</summary>
    /// <exception cref="InvalidUpdateException">It is not what was announced.</exception>
    internal static SpilledUpdate Validate(UpdateManifest manifest, string path)
    {
        using var file = File.OpenHandle(path);
        if (RandomAccess.GetLength(file) is var length && length != manifest.Bytes)
            throw new InvalidUpdateException($"it has {length} bytes where {manifest.Bytes} were announced");
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var values = ArrayPool<float>.Shared.Rent(RunValues);
        var bytes = ArrayPool<byte>.Shared.Rent((int)UpdateCodec.EncodedBytes(manifest.Encoding, RunValues));
        try
        {
            var squares = 0.0;
            for (var first = 0L; first < manifest.Parameters; first += RunValues)
            {
                var run = values.AsSpan(0, (int)Math.Min(RunValues, manifest.Parameters - first));
                var encoded = bytes.AsSpan(0, (int)UpdateCodec.EncodedBytes(manifest.Encoding, run.Length));
                ReadFully(file, encoded, UpdateCodec.EncodedBytes(manifest.Encoding, first));
                hash.AppendData(encoded);
                UpdateCodec.Decode(manifest.Encoding, encoded, first, run);
                squares += CheckedSquares(run, first);
            }
            if (!hash.GetHashAndReset().AsSpan().SequenceEqual(manifest.Hash.Span))
                throw new InvalidUpdateException("its SHA-256 is not the announced one");
            return new SpilledUpdate(manifest, path, Math.Sqrt(squares));
        }
        finally
        {
            ArrayPool<float>.Shared.Return(values);
            ArrayPool<byte>.Shared.Return(bytes);
        }
    }

    /// <inheritdoc/>
    public override void Read(long first, Span<float> values)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(first + values.Length, Length);
        // Scales are shared by blocks, so decode from the start of the block the run begins in to the end of the one it ends in.
        var start = first - first % UpdateCodec.BlockValues;
        var end = Math.Min(Length, (first + values.Length + UpdateCodec.BlockValues - 1) / UpdateCodec.BlockValues * UpdateCodec.BlockValues);
        var count = (int)(end - start);
        var decoded = ArrayPool<float>.Shared.Rent(count);
        var bytes = ArrayPool<byte>.Shared.Rent((int)UpdateCodec.EncodedBytes(_manifest.Encoding, count));
        try
        {
            var encoded = bytes.AsSpan(0, (int)UpdateCodec.EncodedBytes(_manifest.Encoding, count));
            using var file = File.OpenHandle(Path);
            ReadFully(file, encoded, UpdateCodec.EncodedBytes(_manifest.Encoding, start));
            UpdateCodec.Decode(_manifest.Encoding, encoded, start, decoded.AsSpan(0, count));
            decoded.AsSpan((int)(first - start), values.Length).CopyTo(values);
        }
        finally
        {
            ArrayPool<float>.Shared.Return(decoded);
            ArrayPool<byte>.Shared.Return(bytes);
        }
    }

    /// <summary>Moves the file, once it is known to be whole.</summary>
    internal void MoveTo(string path)
    {
        if (Path == path)
            return;
        File.Move(Path, path, overwrite: true);
        Path = path;
    }

    internal static void ReadFully(Microsoft.Win32.SafeHandles.SafeFileHandle file, Span<byte> destination, long offset)
    {
        while (destination.Length > 0)
        {
            var read = RandomAccess.Read(file, destination, offset);
            if (read == 0)
                throw new InvalidUpdateException($"The file of an update ends at byte {offset}, {destination.Length} bytes early.");
            destination = destination[read..];
            offset += read;
        }
    }
}
