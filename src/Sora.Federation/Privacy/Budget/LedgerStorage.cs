using Sora.Protocol.Jobs;

namespace Sora.Federation.Privacy;

/// <summary>Where a ledger's bytes lie. Every change is on the disk when its method returns.</summary>
internal interface ILedgerStorage : IDisposable
{
    /// <summary>For errors.</summary>
    string Name { get; }

    byte[] ReadHead();

    byte[] ReadLog();

    void Append(ReadOnlySpan<byte> line);

    /// <summary>Cuts off what a crash left behind the last whole line.</summary>
    void Truncate(long length);

    /// <summary>All or nothing.</summary>
    void ReplaceHead(ReadOnlySpan<byte> head);
}

/// <summary>A ledger on disk: FILE, FILE.head, and FILE.lock, which excludes a second process for as long as this one has the ledger open.</summary>
internal sealed class LedgerFile : ILedgerStorage
{
    private readonly string _path;
    private readonly FileStream _lock, _log;

    public LedgerFile(string path, bool create)
    {
        _path = Path.GetFullPath(path);
        if (!create && !File.Exists(_path))
            throw new SoraException($"There is no privacy ledger {_path}. A budget that was begun is not begun anew in silence: restore the file, or create a ledger if there never was one.", ExitCode.InvalidInput);
        if (create) Directory.CreateDirectory(Path.GetDirectoryName(_path)!);
        try
        {
            _lock = new FileStream(_path + ".lock", FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1);
        }
        catch (IOException e) when (e is not (DirectoryNotFoundException or FileNotFoundException))
        {
            throw new SoraException($"The privacy ledger {_path} is in use by another process. Two at one budget would spend it twice: stop the other one.", ExitCode.Failure, e);
        }
        try
        {
            _log = new FileStream(_path, create ? FileMode.OpenOrCreate : FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, 1);
        }
        catch
        {
            _lock.Dispose();
            throw;
        }
    }

    public string Name => _path;

    public static (byte[] Head, byte[] Log) ReadOnly(string path)
    {
        if (!File.Exists(path)) throw new SoraException($"There is no privacy ledger {Path.GetFullPath(path)}.", ExitCode.InvalidInput);
        // The head first: a writer may be at work, and its log is never behind its head.
        var head = File.Exists(path + ".head") ? File.ReadAllBytes(path + ".head") : [];
        using var log = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using var bytes = new MemoryStream();
        log.CopyTo(bytes);
        return (head, bytes.ToArray());
    }

    public byte[] ReadHead() => File.Exists(_path + ".head") ? File.ReadAllBytes(_path + ".head") : [];

    public byte[] ReadLog()
    {
        var bytes = new byte[_log.Length];
        _log.Position = 0;
        _log.ReadExactly(bytes);
        return bytes;
    }

    public void Append(ReadOnlySpan<byte> line)
    {
        _log.Position = _log.Length;
        _log.Write(line);
        _log.Flush(flushToDisk: true);
    }

    public void Truncate(long length)
    {
        _log.SetLength(length);
        _log.Flush(flushToDisk: true);
    }

    public void ReplaceHead(ReadOnlySpan<byte> head)
    {
        using (var file = new FileStream(_path + ".head.new", FileMode.Create, FileAccess.Write, FileShare.None, 1))
        {
            file.Write(head);
            file.Flush(flushToDisk: true);
        }
        File.Move(_path + ".head.new", _path + ".head", overwrite: true);
    }

    public void Dispose()
    {
        _log.Dispose();
        _lock.Dispose();
    }
}
