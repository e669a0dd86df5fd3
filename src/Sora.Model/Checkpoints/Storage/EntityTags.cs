using System.Globalization;
using System.Security.Cryptography;
using Amazon.S3.Model;

namespace Sora.Model.Checkpoints.Storage;

/// <summary>
/// What a store says that it has, compared with what was sent. Most stores tag an object with the MD5 of its bytes, or of the
/// MD5s of its parts; the tags of others, and of objects encrypted with certain keys, mean nothing to anybody else. So a kind of tag counts
/// only where it fits one of the files at least.
/// </summary>
internal static class EntityTags
{
    /// <summary>A file whose tag is not that of its bytes, in words; null when there is none, or nothing can be told.</summary>
    public static string? FindDamage(string folder, IEnumerable<CheckpointFile> files, IReadOnlyDictionary<string, S3Object> objects, Func<long, long?> partSizeFor)
    {
        foreach (var kind in files.Select(file => (file.Name, Parts: partSizeFor(file.Bytes), Tag: objects[file.Name].ETag?.Trim('"') ?? "")).GroupBy(one => one.Tag.Contains('-', StringComparison.Ordinal)))
        {
            var compared = kind.Select(one => (one.Name, Fits: one.Tag == TagOf(Path.Combine(folder, one.Name), one.Parts))).ToList();
            if (compared.Any(one => one.Fits) && compared.FirstOrDefault(one => !one.Fits).Name is { } damaged)
                return $"{damaged} has another tag (MD5) than what was sent.";
        }
        return null;
    }

#pragma warning disable CA5351 // The store's choice, and against accidents only; what makes a checkpoint sound is SHA-256.
    internal static string TagOf(string path, long? partSize)
    {
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        if (partSize is not { } size)
            return Convert.ToHexStringLower(MD5.HashData(stream));
        using var whole = IncrementalHash.CreateHash(HashAlgorithmName.MD5);
        using var part = IncrementalHash.CreateHash(HashAlgorithmName.MD5);
        var (block, parts) = (new byte[SafetensorsFile.BlockSize], 0);
        for (var left = stream.Length; left > 0; parts++)
        {
            for (var inPart = Math.Min(size, left); inPart > 0;)
            {
                var count = (int)Math.Min(block.Length, inPart);
                stream.ReadExactly(block, 0, count);
                part.AppendData(block, 0, count);
                (inPart, left) = (inPart - count, left - count);
            }
            whole.AppendData(part.GetHashAndReset());
        }
        return string.Create(CultureInfo.InvariantCulture, $"{Convert.ToHexStringLower(whole.GetHashAndReset())}-{parts}");
    }
#pragma warning restore CA5351
}
