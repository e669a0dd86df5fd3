using Sora.Protocol.Jobs;

namespace Sora.Cli.Train;

/// <summary>The folder a run writes into, checked before minutes are spent, and taken back when the run never began.</summary>
internal sealed class OutputFolder
{
    private readonly string? _createdFrom;

    private OutputFolder(string path, string? createdFrom) => (Path, _createdFrom) = (path, createdFrom);

    /// <summary>The folder.</summary>
    public string Path { get; }

    /// <summary>Its part for log files.</summary>
    public string Logs => System.IO.Path.Combine(Path, "logs");

    /// <summary>Creates the folder where it is missing and proves that it can be written.</summary>
    /// <exception cref="SoraException">It cannot.</exception>
    public static OutputFolder Open(string path)
    {
        try
        {
            var created = Missing(path);
            Directory.CreateDirectory(path);
            var probe = System.IO.Path.Combine(path, $".write-test-{Guid.NewGuid():N}");
            using (File.Create(probe, 1, FileOptions.DeleteOnClose)) { }
            return new OutputFolder(path, created);
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

    /// <summary>The topmost folder of a path that does not exist yet; null when all exist.</summary>
    private static string? Missing(string path)
    {
        string? missing = null;
        for (var folder = path; folder is not null && !Directory.Exists(folder); folder = System.IO.Path.GetDirectoryName(folder)) missing = folder;
        return missing;
    }
}
