using System.Security.Cryptography;

namespace Sora.Model.Data.Preparation;

/// <summary>Hashes files whole and in pieces.</summary>
internal static class FileHashes
{
    /// <summary>The manifest's entries of some files, in the order given.</summary>
    public static IReadOnlyDictionary<string, ManifestFile> Hash(
        IReadOnlyList<string> paths, int pieceBytes, int threads, IProgress<PrepareProgress>? progress, CancellationToken cancellationToken)
    {
        var total = paths.Sum(path => new FileInfo(path).Length);
        var done = 0L;
        var entries = new ManifestFile[paths.Count];
        Parallel.For(0, paths.Count, new ParallelOptions { MaxDegreeOfParallelism = threads, CancellationToken = cancellationToken }, i =>
        {
            using var file = new FileStream(paths[i], FileMode.Open, FileAccess.Read, FileShare.ReadWrite, 0, FileOptions.SequentialScan);
            using var whole = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            var pieces = new List<string>();
            var piece = new byte[pieceBytes];
            for (int read; (read = file.ReadAtLeast(piece, pieceBytes, throwOnEndOfStream: false)) > 0;)
            {
                cancellationToken.ThrowIfCancellationRequested();
                whole.AppendData(piece.AsSpan(0, read));
                pieces.Add(Convert.ToHexStringLower(SHA256.HashData(piece.AsSpan(0, read))));
                progress?.Report(new(PreparePhase.Hashing, Interlocked.Add(ref done, read), total));
            }
            entries[i] = new(Path.GetFileName(paths[i]), file.Length, Convert.ToHexStringLower(whole.GetHashAndReset()), pieces);
        });
        return entries.ToDictionary(entry => entry.Name);
    }
}
