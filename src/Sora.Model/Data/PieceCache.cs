using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace Sora.Model.Data;

/// <summary>
/// Pieces on disk, each a file named by its hash, so processes and runs may share the folder and a half-written piece cannot exist
/// (written aside, then renamed). Over the bound the least recently used go first; a file's write time says when it was last used.
/// </summary>
internal sealed class PieceCache
{
    private static readonly TimeSpan TouchInterval = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan AbandonedAfter = TimeSpan.FromHours(1);
    private const string TemporarySuffix = ".tmp";

    private readonly string _folder;
    private readonly long _bound;
    private readonly TimeProvider _time;
    private readonly ConcurrentDictionary<string, long> _touched = new(); // pieces whose content this process has checked
    private readonly Lock _accounting = new();
    private long _bytes;
    private long _addedSinceSweep;

    public PieceCache(string folder, long bound, TimeProvider time)
    {
        _folder = folder;
        _bound = bound;
        _time = time;
        DiskErrors.Explain(folder, () => Directory.CreateDirectory(folder));
        Sweep();
    }

    /// <summary>Bytes in the folder as last seen, other processes' additions since then left out.</summary>
    public long Bytes => Interlocked.Read(ref _bytes);

    public bool Contains(string piece) => File.Exists(PathOf(piece));

    /// <summary>Copies a part of a piece. The first use in a process checks the whole piece, for disks rot and users edit.</summary>
    public bool TryRead(string piece, int offset, Span<byte> bytes)
    {
        var path = PathOf(piece);
        try
        {
            var now = _time.GetUtcNow().UtcTicks;
            if (!_touched.TryGetValue(piece, out var touched))
            {
                if (!File.Exists(path)) return false;
                var content = File.ReadAllBytes(path);
                if (Convert.ToHexStringLower(SHA256.HashData(content)) != piece)
                {
                    File.Delete(path);
                    return false;
                }
                Touch(piece, path, now);
                content.AsSpan(offset, bytes.Length).CopyTo(bytes);
                return true;
            }

            using var file = File.OpenHandle(path, share: FileShare.ReadWrite | FileShare.Delete);
            if (RandomAccess.Read(file, bytes, offset) != bytes.Length) return false;
            if (now - touched > TouchInterval.Ticks) Touch(piece, path, now);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Another process made room, or the disk fails: the piece can be fetched again.
            _touched.TryRemove(piece, out _);
            return false;
        }
    }

    /// <summary>Keeps a piece whose hash the caller has checked.</summary>
    public void Add(string piece, ReadOnlySpan<byte> content)
    {
        var path = PathOf(piece);
        var temporary = $"{path}.{Guid.NewGuid():N}{TemporarySuffix}";
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllBytes(temporary, content);
            File.Move(temporary, path, overwrite: true);
            Touch(piece, path, _time.GetUtcNow().UtcTicks);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return; // swept away by another process in between: the caller has the content
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            File.Delete(temporary);
            throw DiskErrors.Explained(_folder, e);
        }

        bool sweep;
        lock (_accounting)
        {
            _bytes += content.Length;
            _addedSinceSweep += content.Length;
            // Other processes add too: look at the folder again long before this process alone would have filled it.
            sweep = _bytes > _bound || _addedSinceSweep > _bound / 8;
            if (sweep) _addedSinceSweep = 0;
        }
        if (sweep) Sweep();
    }

    private void Sweep()
    {
        lock (_accounting)
        {
            var now = _time.GetUtcNow();
            var pieces = new List<(FileInfo File, long Length, DateTime Used)>();
            foreach (var file in new DirectoryInfo(_folder).EnumerateFiles("*", SearchOption.AllDirectories))
            {
                file.Refresh();
                if (!file.Exists) continue; // another process sweeps too
                if (file.Extension != TemporarySuffix) pieces.Add((file, file.Length, file.LastWriteTimeUtc));
                else if (now - file.LastWriteTimeUtc > AbandonedAfter) Remove(file);
            }

            _bytes = pieces.Sum(piece => piece.Length);
            if (_bytes <= _bound) return;

            // A tenth below the bound, so that the next sweep is not due with the next piece.
            var target = _bound - (_bound / 10);
            foreach (var piece in pieces.OrderBy(piece => piece.Used).ThenBy(piece => piece.File.Name, StringComparer.Ordinal).TakeWhile(_ => _bytes > target))
                if (Remove(piece.File)) _bytes -= piece.Length;
        }
    }

    private bool Remove(FileInfo file)
    {
        try
        {
            file.Delete();
            _touched.TryRemove(file.Name, out _);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false; // in use at this moment, on systems where that matters: a later sweep comes by
        }
    }

    private void Touch(string piece, string path, long now)
    {
        File.SetLastWriteTimeUtc(path, new(now, DateTimeKind.Utc));
        _touched[piece] = now;
    }

    private string PathOf(string piece) => Path.Combine(_folder, piece[..2], piece);
}
