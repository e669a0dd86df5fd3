using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Sora.Model.Checkpoints;

/// <summary>Writes that have reached the disk, not only the operating system's memory, when they return.</summary>
internal static partial class DurableFiles
{
    /// <summary>Writes a new small file.</summary>
    public static FileDigest Write(string path, ReadOnlySpan<byte> bytes)
    {
        using var file = File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write, FileShare.None);
        RandomAccess.Write(file, bytes, 0);
        RandomAccess.FlushToDisk(file);
        return new FileDigest(bytes.Length, Convert.ToHexStringLower(SHA256.HashData(bytes)));
    }

    /// <summary>Flushes a file that other code wrote, and hashes it.</summary>
    public static FileDigest Flush(string path)
    {
        using (var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite))
            RandomAccess.FlushToDisk(file);
        return Digest(path);
    }

    /// <summary>Reads and hashes a file.</summary>
    public static FileDigest Digest(string path)
    {
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 1 << 20);
        return new FileDigest(stream.Length, Convert.ToHexStringLower(SHA256.HashData(stream)));
    }

    /// <summary>Makes names created, renamed or removed in a folder survive a loss of power.</summary>
    public static void FlushFolder(string path)
    {
        // NTFS journals names by itself, and .NET opens no folders, so only Unix needs the call and it needs libc.
        if (OperatingSystem.IsWindows())
            return;
        const int readOnly = 0; // O_RDONLY
        var folder = Open(path, readOnly);
        if (folder < 0)
            throw new IOException($"Cannot open folder {path}: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");
        try
        {
            if (Synchronize(folder) != 0)
                throw new IOException($"Cannot flush folder {path}: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");
        }
        finally
        {
            _ = Close(folder);
        }
    }

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Synchronize(int descriptor);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    private static partial int Close(int descriptor);
}
