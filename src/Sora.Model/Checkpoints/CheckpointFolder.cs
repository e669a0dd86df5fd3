using System.Globalization;
using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints;

/// <summary>
/// One checkpoint: a folder that is either whole or not there. It is written under another name, flushed to disk file by
/// file, and renamed last.
/// </summary>
public static class CheckpointFolder
{
    /// <summary>File of the optimizer's state, where there is one only.</summary>
    public const string OptimizerFileName = "optimizer.safetensors";

    /// <summary>File of the job.</summary>
    public const string JobFileName = "job.json";

    /// <summary>
    /// Writes a checkpoint and removes the oldest ones above the limit. Saving the same step again is harmless, also when
    /// several processes do so at once: who comes second finds the first one's and keeps it.
    /// </summary>
    /// <param name="contents">What to write; read before this returns, never kept.</param>
    /// <param name="saveTotalLimit">Checkpoints to keep; 0: all.</param>
    /// <exception cref="CheckpointWriteException">The disk is full or the folder cannot be written; earlier checkpoints are untouched and nothing half-written stays.</exception>
    public static CheckpointInfo Save(CheckpointContents contents, int saveTotalLimit) => Save(contents, saveTotalLimit, Disk.Real);

    /// <summary>As <see cref="Save(CheckpointContents, int)"/>, on a certain disk.</summary>
    internal static CheckpointInfo Save(CheckpointContents contents, int saveTotalLimit, Disk disk) => SaveAlone(contents, saveTotalLimit, disk).Saved!;

    /// <summary>As <see cref="Save(CheckpointContents, int)"/>; also tells which earlier ones, begun by several, have been given up.</summary>
    internal static ShareOutcome SaveAlone(CheckpointContents contents, int saveTotalLimit, Disk disk)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(saveTotalLimit);
        ArgumentOutOfRangeException.ThrowIfNegative(contents.Step);
        ArgumentOutOfRangeException.ThrowIfNotEqual(contents.Group.Count, 1);
        var parent = CheckpointCatalog.FolderOf(contents.OutputDir);
        var final = Path.Combine(parent, NameOf(contents.Step));
        var temporary = PartialFolder.NameFor(final);
        try
        {
            Publication.CreateDurably(parent, disk);
            disk.CreateFolder(temporary);
            var now = Directory.GetLastWriteTimeUtc(temporary);
            PartialFolder.RemoveLeftovers(parent, now, disk);
            var abandoned = SharedSave.GiveUpLeftovers(parent, now, disk, alone: true);
            var manifest = CheckpointFiles.Write(contents, contents.Share, temporary, disk);
            disk.Write(Path.Combine(temporary, CheckpointManifest.FileName), manifest.ToUtf8());
            disk.FlushFolder(temporary);
            Publication.Publish(temporary, final, disk);
            CheckpointCatalog.Prune(contents.OutputDir, saveTotalLimit, contents.Step, disk);
            return new ShareOutcome(new CheckpointInfo(final, contents.Step, manifest.WeightsSha256), abandoned);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointWriteException(
                $"Cannot write the checkpoint of step {contents.Step} into {parent}: {exception.Message} " +
                "Free some space, or choose a folder that can be written.", exception);
        }
        finally
        {
            PartialFolder.TryRemove(temporary, disk);
        }
    }

    /// <summary>Opens a checkpoint folder and checks that its files are there in full; <see cref="Verify"/> also checks every byte.</summary>
    /// <exception cref="SoraException">It is no whole checkpoint.</exception>
    public static CheckpointReader Open(string path)
    {
        var folder = Path.GetFullPath(path);
        var manifest = CheckpointManifest.Read(folder);
        return FindMissing(folder, manifest) is { } problem
            ? throw new SoraException($"Checkpoint {folder} is damaged: {problem}", ExitCode.InvalidInput)
            : new CheckpointReader(folder, manifest);
    }

    /// <summary>Recomputes every hash of a checkpoint.</summary>
    /// <returns>What is wrong with it, each naming a file; empty when it is sound.</returns>
    public static IReadOnlyList<string> Verify(string path)
    {
        var folder = Path.GetFullPath(path);
        var problems = new List<string>();
        try
        {
            var manifest = CheckpointManifest.Read(folder);
            foreach (var file in manifest.Files)
            {
                var full = Path.Combine(folder, file.Name);
                if (Shortage(full, file) is { } shortage)
                    problems.Add(shortage);
                else if (Disk.Digest(full).Sha256 != file.Sha256)
                    problems.Add($"{full} is damaged: its SHA-256 is not the one in the manifest.");
            }
            if (problems.Count > 0)
                return problems;
            using var weights = WeightFiles.Open(folder);
            if (WeightsHash.Of(weights.Files) is var hash && hash != manifest.WeightsSha256)
                problems.Add($"{folder} holds other weights ({hash}) than the manifest says ({manifest.WeightsSha256}).");
        }
        catch (SoraException exception)
        {
            problems.Add(exception.Message);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            problems.Add($"{folder} cannot be read: {exception.Message}");
        }
        return problems;
    }

    /// <summary>Takes up a checkpoint that comes from elsewhere; one that lies there already and is the same is used.</summary>
    /// <param name="outputDir">The run's output folder.</param>
    /// <param name="manifest">What is to come.</param>
    /// <param name="fill">Puts its files into a folder.</param>
    /// <returns>Its folder; every byte has been verified.</returns>
    internal static string Receive(string outputDir, CheckpointManifest manifest, Action<string> fill)
    {
        var parent = CheckpointCatalog.FolderOf(outputDir);
        var final = Path.Combine(parent, NameOf(manifest.Step));
        if (Directory.Exists(final) && Verify(final).Count == 0 && CheckpointManifest.Read(final).Checksum == manifest.Checksum)
            return final;
        var temporary = PartialFolder.NameFor(final);
        try
        {
            Publication.CreateDurably(parent, Disk.Real);
            Directory.CreateDirectory(temporary);
            PartialFolder.RemoveLeftovers(parent, Directory.GetLastWriteTimeUtc(temporary), Disk.Real);
            fill(temporary);
            foreach (var file in manifest.Files)
                if (Disk.Real.Flush(Path.Combine(temporary, file.Name)).Sha256 != file.Sha256)
                    throw new SoraException($"{file.Name} is damaged: its SHA-256 is not the one in the manifest.", ExitCode.InvalidInput);
            Disk.Real.Write(Path.Combine(temporary, CheckpointManifest.FileName), manifest.ToUtf8());
            Disk.Real.FlushFolder(temporary);
            Publication.Publish(temporary, final, Disk.Real);
            return final;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"Cannot put the checkpoint of step {manifest.Step} into {parent}: {exception.Message} Free some space or choose a folder that can be written.", ExitCode.Failure, exception);
        }
        finally
        {
            PartialFolder.TryRemove(temporary, Disk.Real);
        }
    }

    /// <summary>The folder's name for a step.</summary>
    internal static string NameOf(long step) => string.Create(CultureInfo.InvariantCulture, $"step-{step:D8}");

    /// <summary>The first file that is absent or of another size, in words; null when there is none.</summary>
    internal static string? FindMissing(string folder, CheckpointManifest manifest) =>
        manifest.Files.Select(file => Shortage(Path.Combine(folder, file.Name), file)).FirstOrDefault(problem => problem is not null);

    private static string? Shortage(string path, CheckpointFile file)
    {
        var info = new FileInfo(path);
        return !info.Exists ? $"{path} is missing."
            : info.Length != file.Bytes ? $"{path} has {info.Length} bytes, not {file.Bytes}."
            : null;
    }
}
