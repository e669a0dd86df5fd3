using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;

namespace Sora.Model.Checkpoints;

/// <summary>
/// All that saving a checkpoint does to a file system. Writes have reached the disk, not only the operating system's
/// memory, when they are flushed. An object, so that tests can be a disk that is full or a machine that loses power at any point.
/// </summary>
internal partial class Disk
{
    /// <summary>The one of this machine.</summary>
    public static Disk Real { get; } = new();

    /// <summary>Writes a new small file.</summary>
    public FileDigest Write(string path, ReadOnlySpan<byte> bytes)
    {
        using var file = Create(path, bytes.Length);
        Write(file, bytes, 0);
        Flush(file);
        return new FileDigest(bytes.Length, Convert.ToHexStringLower(SHA256.HashData(bytes)));
    }

    /// <summary>Flushes a file that other code wrote, and hashes it.</summary>
    public FileDigest Flush(string path)
    {
        using (var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite))
            Flush(file);
        return Digest(path);
    }

    /// <summary>Reads and hashes a file.</summary>
    public static FileDigest Digest(string path)
    {
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 1 << 20);
        return new FileDigest(stream.Length, Convert.ToHexStringLower(SHA256.HashData(stream)));
    }

    /// <summary>Begins a new file. Asking for the room at once makes a full disk an error before anything is written.</summary>
    public virtual SafeFileHandle Create(string path, long size) =>
        File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, FileOptions.None, size);

    public virtual void Write(SafeFileHandle file, ReadOnlySpan<byte> bytes, long offset) => RandomAccess.Write(file, bytes, offset);

    public virtual void Flush(SafeFileHandle file) => RandomAccess.FlushToDisk(file);

    public virtual void CreateFolder(string path) => Directory.CreateDirectory(path);

    public virtual void Move(string from, string to) => Directory.Move(from, to);

    public virtual void Remove(string folder) => Directory.Delete(folder, recursive: true);

    /// <summary>Lets two folders change names in one step; false where the file system cannot.</summary>
    public virtual bool TryExchange(string one, string other)
    {
        if (!OperatingSystem.IsLinux())
            return false;
        const int workingFolder = -100; // AT_FDCWD
        const uint exchange = 2; // RENAME_EXCHANGE
        try
        {
            return Rename(workingFolder, one, workingFolder, other, exchange) == 0;
        }
        catch (EntryPointNotFoundException)
        {
            return false; // musl before 1.2.6
        }
    }

    /// <summary>Makes names created, renamed or removed in a folder survive a loss of power.</summary>
    public virtual void FlushFolder(string path)
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

    [LibraryImport("libc", EntryPoint = "renameat2", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Rename(int fromFolder, string from, int toFolder, string to, uint flags);
}
