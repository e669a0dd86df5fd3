using Sora.Protocol.Jobs;

namespace Sora.Model.Data;

/// <summary>
/// The right to make a folder, held through a lock file beside it: one process at a time has it, and the operating system drops
/// the claim of a process that dies. Whoever has it knows that every half-made folder beside it is abandoned.
/// </summary>
internal sealed class FolderClaim : IDisposable
{
    private const string Unfinished = ".preparing-";

    private readonly string _folder;
    private readonly FileStream _lock;

    private FolderClaim(string folder, FileStream file)
    {
        _folder = folder;
        _lock = file;
    }

    /// <summary>Claims a folder whose parent exists or can be made; null: another process has the claim.</summary>
    /// <exception cref="SoraException">Nothing can be written there.</exception>
    public static FolderClaim? TryTake(string folder)
    {
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(folder)!);
            // With these options .NET checks that the file it locked is still the one of that name: the file goes away with the claim.
            return new(folder, new FileStream(folder + ".lock", FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.DeleteOnClose));
        }
        catch (IOException e) when (DiskErrors.IsHeld(e))
        {
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw DiskErrors.Explained(folder, e);
        }
    }

    /// <summary>A name for the folder while it is made, never used before.</summary>
    public string UnfinishedName() => $"{_folder}{Unfinished}{Guid.NewGuid():N}";

    /// <summary>Removes what killed processes left half-made, and says so.</summary>
    public void RemoveLeftovers(IProgress<PrepareProgress>? progress)
    {
        foreach (var leftover in Directory.GetDirectories(Path.GetDirectoryName(_folder)!, Path.GetFileName(_folder) + Unfinished + "*"))
        {
            DiskErrors.Explain(leftover, () => Directory.Delete(leftover, recursive: true));
            progress?.Report(new(PreparePhase.Finding, Message: $"Removed {leftover}, which a run that was killed had left."));
        }
    }

    /// <inheritdoc />
    public void Dispose() => _lock.Dispose();
}
