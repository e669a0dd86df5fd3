using System.Globalization;
using System.Text.RegularExpressions;
using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints;

/// <summary>A checkpoint that several workers began and that never became whole.</summary>
/// <param name="Step">The step it was of.</param>
/// <param name="Reason">What is known of why.</param>
public sealed record AbandonedCheckpoint(long Step, string Reason);

/// <summary>How writing one's share of a checkpoint ended.</summary>
/// <param name="Saved">The checkpoint, if this writer completed it; null: others have still to write, or one of them completes it.</param>
/// <param name="Abandoned">Earlier ones that will never be completed, removed now; to be shown.</param>
public sealed record ShareOutcome(CheckpointInfo? Saved, IReadOnlyList<AbandonedCheckpoint> Abandoned);

/// <summary>
/// A checkpoint written by several workers into one folder. Nobody leads: each flushes its files and then says in a file of its own
/// what they are; whoever finds that all have done so takes the folder for itself, by a rename that only one can win, and makes it a
/// checkpoint. If one of them fails, that one is given up; the next one comes.
/// </summary>
internal static partial class SharedSave
{
    private const string FilesFolder = "files";
    private const string Suffix = PartialFolder.SharedSuffix;

    /// <summary>Writes a share, and completes the checkpoint if it was the last one missing.</summary>
    /// <exception cref="CheckpointWriteException">The disk is full or the folder cannot be written: the checkpoint is given up.</exception>
    public static ShareOutcome Save(CheckpointContents contents, int saveTotalLimit, Disk disk)
    {
        var (share, group) = (contents.Share, contents.Group);
        var parent = CheckpointCatalog.FolderOf(contents.OutputDir);
        var final = Path.Combine(parent, CheckpointFolder.NameOf(contents.Step));
        var shared = Path.Combine(parent, string.Create(CultureInfo.InvariantCulture, $".{CheckpointFolder.NameOf(contents.Step)}.{group.Key}.{group.Count}{Suffix}"));
        var files = Path.Combine(shared, FilesFolder);
        var begun = false;
        try
        {
            Publication.CreateDurably(parent, disk);
            disk.CreateFolder(files);
            begun = true;
            PartialFolder.RemoveLeftovers(parent, Directory.GetLastWriteTimeUtc(shared), disk, sharedToo: false);
            // The one before may still be on its way at other writers; those before that cannot be.
            var abandoned = share.Index == 0 ? GiveUp(parent, contents.Step, keepNewest: true, disk) : [];
            var part = CheckpointFiles.Write(contents, share, files, disk);
            disk.FlushFolder(files);
            Tell(part, shared, share, disk);
            var saved = TryComplete(shared, final, share.Count, contents, disk);
            if (saved is null)
                return new ShareOutcome(null, abandoned);
            // All have written this one, so nobody still writes an earlier one.
            abandoned = [.. abandoned, .. GiveUp(parent, contents.Step, keepNewest: false, disk)];
            CheckpointCatalog.Prune(contents.OutputDir, saveTotalLimit, contents.Step, disk);
            return new ShareOutcome(saved, abandoned);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or SoraException and not CheckpointWriteException)
        {
            // Another writer has failed, said so, and taken the folder away.
            if (begun && exception is IOException && !Directory.Exists(files))
                return new ShareOutcome(null, []);
            PartialFolder.TryDelete(shared, disk);
            throw new CheckpointWriteException(
                $"Cannot write the checkpoint of step {contents.Step} into {parent}: {exception.Message} " +
                "Free some space, or choose a folder that can be written.", exception);
        }
    }

    private static string PartName(int index, int count) => string.Create(CultureInfo.InvariantCulture, $"part-{index + 1}-of-{count}.json");

    // Under another name first: whoever sees it sees all of it.
    private static void Tell(CheckpointManifest part, string shared, CheckpointShare share, Disk disk)
    {
        var path = Path.Combine(shared, PartName(share.Index, share.Count));
        disk.Write($"{path}.partial", part.ToUtf8());
        disk.Move($"{path}.partial", path);
        disk.FlushFolder(shared);
    }

    private static CheckpointInfo? TryComplete(string shared, string final, int writers, CheckpointContents contents, Disk disk)
    {
        var own = PartialFolder.NameFor(final);
        try
        {
            if (ReadParts(shared, writers) is not { } parts || !TryTake(Path.Combine(shared, FilesFolder), own, disk))
                return null;
            PartialFolder.TryRemove(shared, disk);
            var manifest = Join(parts);
            if (CheckpointFolder.FindMissing(own, manifest) is { } problem)
                throw new IOException($"{problem} It was written, and is not there any more.");
            disk.Write(Path.Combine(own, CheckpointManifest.FileName), manifest.ToUtf8());
            disk.FlushFolder(own);
            Publication.Publish(own, final, disk);
            return new CheckpointInfo(final, contents.Step, manifest.WeightsSha256);
        }
        finally
        {
            PartialFolder.TryRemove(own, disk);
        }
    }

    // Who comes second finds nothing to take.
    private static bool TryTake(string files, string own, Disk disk)
    {
        try
        {
            disk.Move(files, own);
            return true;
        }
        catch (DirectoryNotFoundException)
        {
            return false;
        }
    }

    private static List<CheckpointManifest>? ReadParts(string shared, int writers)
    {
        var parts = new List<CheckpointManifest>();
        for (var index = 0; index < writers; index++)
        {
            var path = Path.Combine(shared, PartName(index, writers));
            try
            {
                parts.Add(CheckpointManifest.Parse(File.ReadAllBytes(path), path));
            }
            catch (Exception exception) when (exception is FileNotFoundException or DirectoryNotFoundException)
            {
                return null;
            }
        }
        return parts;
    }

    /// <summary>The manifest of the whole: what the first writer says of it, and everybody's files.</summary>
    internal static CheckpointManifest Join(IReadOnlyList<CheckpointManifest> parts)
    {
        var files = parts.SelectMany(part => part.Files).OrderBy(file => file.Name, StringComparer.Ordinal).ToList();
        return parts.All(part => (part.Step, part.JobSha256, part.CorpusSha256) == (parts[0].Step, parts[0].JobSha256, parts[0].CorpusSha256))
            && files.Select(file => file.Name).Distinct(StringComparer.Ordinal).Count() == files.Count
                ? parts[0] with { Files = files }
                : throw new IOException("Its writers wrote parts that do not belong together.");
    }

    // Removes what can never be completed. What is left of one that was completed is not worth a word.
    private static List<AbandonedCheckpoint> GiveUp(string parent, long below, bool keepNewest, Disk disk)
    {
        var abandoned = new List<AbandonedCheckpoint>();
        var earlier = Directory.GetDirectories(parent, $".*{Suffix}")
            .Select(folder => (Folder: folder, Match: Name().Match(Path.GetFileName(folder)))).Where(one => one.Match.Success)
            .Select(one => (one.Folder, Step: long.Parse(one.Match.Groups["step"].ValueSpan, CultureInfo.InvariantCulture), Writers: one.Match.Groups["writers"].Value))
            .Where(one => one.Step < below).OrderBy(one => one.Step).ToList();
        foreach (var (folder, step, writers) in keepNewest ? earlier.SkipLast(1) : earlier)
        {
            var lacking = Directory.Exists(Path.Combine(folder, FilesFolder)) && !Directory.Exists(Path.Combine(parent, CheckpointFolder.NameOf(step)));
            var finished = Enumerable.Range(1, int.Parse(writers, CultureInfo.InvariantCulture)).Count(part => File.Exists(Path.Combine(folder, $"part-{part}-of-{writers}.json")));
            if (PartialFolder.TryDelete(folder, disk) && lacking)
                abandoned.Add(new AbandonedCheckpoint(step, $"{writers} workers wrote it together, and {finished} of them finished their part."));
        }
        return abandoned;
    }

    [GeneratedRegex(@"^\.step-(?<step>\d{1,18})\.[0-9a-z]+\.(?<writers>\d{1,9})\.shared\.partial$")]
    private static partial Regex Name();
}
