using System.Collections.Frozen;
using System.Security.Cryptography;

namespace Sora.Model.Checkpoints;

/// <summary>What a written file holds, for a manifest.</summary>
/// <param name="Bytes">Its size.</param>
/// <param name="Sha256">SHA-256 of its bytes, lower-case hex.</param>
public readonly record struct FileDigest(long Bytes, string Sha256);

/// <summary>Writes safetensors files: straight from the tensors' memory, hashed on the way, on disk when it returns.</summary>
public static class SafetensorsWriter
{
    /// <summary>What Hugging Face's libraries expect a file of weights to say.</summary>
    public static IReadOnlyDictionary<string, string> PyTorchMetadata { get; } =
        new Dictionary<string, string> { ["format"] = "pt" }.ToFrozenDictionary();

    /// <summary>Writes a new file and flushes it to disk. The same tensors give the same bytes, in whatever order they come.</summary>
    /// <exception cref="IOException">The file exists or cannot be written; what was written so far stays for the caller to remove.</exception>
    public static FileDigest Write(string path, IReadOnlyCollection<RawTensor> tensors, IReadOnlyDictionary<string, string>? metadata = null) =>
        Write(path, tensors, metadata ?? PyTorchMetadata, Disk.Real);

    internal static FileDigest Write(string path, IReadOnlyCollection<RawTensor> tensors, IReadOnlyDictionary<string, string> metadata, Disk disk)
    {
        var byName = tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        var (header, layout) = SafetensorsHeader.Create(tensors.Select(tensor => (tensor.Name, tensor.Dtype, tensor.Shape)), metadata);
        var size = header.LongLength + layout.Sum(entry => entry.ByteCount);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using var file = disk.Create(path, size);
        Append(header, 0);
        foreach (var entry in layout)
        {
            var tensor = byName[entry.Name];
            for (long done = 0; done < entry.ByteCount;)
            {
                var count = (int)Math.Min(SafetensorsFile.BlockSize, entry.ByteCount - done);
                Append(tensor.Bytes(done, count), entry.Offset + done);
                done += count;
            }
        }
        disk.Flush(file);
        return new FileDigest(size, Convert.ToHexStringLower(hash.GetHashAndReset()));

        void Append(ReadOnlySpan<byte> bytes, long offset)
        {
            disk.Write(file, bytes, offset);
            hash.AppendData(bytes);
        }
    }
}
