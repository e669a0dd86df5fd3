namespace Sora.Worker;

/// <summary>
/// A folder for what a worker needs while it lives: its socket, fetched tokenizers. A worker that is killed cannot remove its own,
/// so the next one does: a folder whose lock file can be claimed belongs to nobody any more.
/// </summary>
internal sealed class WorkFolder : IDisposable
{
    private const string Prefix = "sora-worker-";
    private const string LockFile = ".lock";
    private const int Attempts = 3;

    private readonly FileStream _claim;

    private WorkFolder(string path, FileStream claim) => (Path, _claim) = (path, claim);

    /// <summary>The folder.</summary>
    public string Path { get; }

    /// <summary>Creates a folder, and removes those that dead workers of this user left.</summary>
    /// <param name="parent">Where; null: the system's folder for temporary files.</param>
    public static WorkFolder Create(string? parent = null)
    {
        parent ??= System.IO.Path.GetTempPath();
        var created = CreateClaimed(parent);
        // Some network file systems grant every claim: where the one just made does not hold, none proves anything.
        if (TryClaim(created.Path) is not { } second) RemoveAbandoned(parent);
        else second.Dispose();
        return created;
    }

    /// <summary>Removes the folder.</summary>
    public void Dispose() => Remove(Path, _claim);

    private static WorkFolder CreateClaimed(string parent)
    {
        for (var attempt = 1; ; attempt++)
        {
            var path = CreateFolder(parent);
            var file = System.IO.Path.Combine(path, LockFile);
            try
            {
                var claim = new FileStream(file, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None);
                if (File.Exists(file)) return new WorkFolder(path, claim);
                claim.Dispose();
            }
            catch (IOException) when (attempt < Attempts)
            {
                // Between the file's creation and its claim another worker took the folder for an abandoned one.
            }
        }
    }

    private static void RemoveAbandoned(string parent)
    {
        foreach (var folder in Directory.EnumerateDirectories(parent, Prefix + "*"))
        {
            if (TryClaim(folder) is not { } claim) continue;
            try
            {
                Remove(folder, claim);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It is only in nobody's way; the next worker tries again.
                claim.Dispose();
            }
        }
    }

    // Opened, not created: a folder without the file is not proven to be one of ours. Null while its worker lives, or for another user's.
    private static FileStream? TryClaim(string folder)
    {
        try
        {
            return new DirectoryInfo(folder).LinkTarget is null
                ? new FileStream(System.IO.Path.Combine(folder, LockFile), FileMode.Open, FileAccess.ReadWrite, FileShare.None)
                : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static string CreateFolder(string parent)
    {
        var path = System.IO.Path.Combine(parent, Prefix + System.IO.Path.GetRandomFileName());
        // Only this user may look inside: the socket leads to gradients.
        if (OperatingSystem.IsWindows()) Directory.CreateDirectory(path);
        else Directory.CreateDirectory(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return path;
    }

    // Claimed until all is gone; but Windows removes no open file, and there a claim is safe from the moment the file exists.
    private static void Remove(string folder, FileStream claim)
    {
        if (OperatingSystem.IsWindows()) claim.Dispose();
        Directory.Delete(folder, recursive: true);
        claim.Dispose();
    }
}
