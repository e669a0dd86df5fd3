using Sora.Protocol.Jobs;

namespace Sora.Cli.Train;

/// <summary>The folder a run writes into, checked before minutes are spent, and taken back when the run never began.</summary>
internal sealed class OutputFolder : IDisposable
{
    private const string LockFile = ".lock";

    private readonly string? _createdFrom;
    private readonly FileStream _lock;

    private OutputFolder(string path, string? createdFrom, FileStream @lock) => (Path, _createdFrom, _lock) = (path, createdFrom, @lock);

    /// <summary>The folder.</summary>
    public string Path { get; }

    /// <summary>Its part for log files.</summary>
    public string Logs => System.IO.Path.Combine(Path, "logs");

    /// <summary>Creates the folder where it is missing, proves that it can be written, and keeps other runs out until disposed.</summary>
    /// <exception cref="SoraException">It cannot be written, or another run writes into it.</exception>
    public static OutputFolder Open(string path)
    {
        try
        {
            var created = Missing(path);
            Directory.CreateDirectory(path);
            return new OutputFolder(path, created, Claim(System.IO.Path.Combine(path, LockFile)));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"The output folder {path} cannot be written: {e.Message} Choose another with --output.", ExitCode.Usage, e);
        }
    }

    /// <summary>Removes what <see cref="Open"/> created, as far as it is still empty but for one folder.</summary>
    /// <param name="disposable">Name of a folder in it that is worth nothing.</param>
    public void TakeBack(string disposable)
    {
        Dispose();
        if (_createdFrom is null) return;
        try
        {
            var worthless = System.IO.Path.Combine(Path, disposable);
            if (Directory.Exists(worthless)) Directory.Delete(worthless, recursive: true);
            for (var folder = Path; folder.Length >= _createdFrom.Length; folder = System.IO.Path.GetDirectoryName(folder)!)
                Directory.Delete(folder);
        }
        catch (IOException)
        {
            // Something was put there meanwhile: it stays, and so do the folders above.
        }
    }

    /// <summary>Lets other runs in.</summary>
    public void Dispose() => _lock.Dispose();

    // The system gives the claim up when the process ends, however it ends.
    private static FileStream Claim(string path)
    {
        var existed = File.Exists(path);
        try
        {
            return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.DeleteOnClose);
        }
        catch (IOException e) when (existed && e is not (FileNotFoundException or DirectoryNotFoundException))
        {
            throw new SoraException(
                $"Another run is writing into {System.IO.Path.GetDirectoryName(path)}. Wait for it to end, or choose another folder with --output.", ExitCode.Usage, e);
        }
    }

    /// <summary>The topmost folder of a path that does not exist yet; null when all exist.</summary>
    private static string? Missing(string path)
    {
        string? missing = null;
        for (var folder = path; folder is not null && !Directory.Exists(folder); folder = System.IO.Path.GetDirectoryName(folder)) missing = folder;
        return missing;
    }
}
