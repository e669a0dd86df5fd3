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
            var now = Directory.GetLastWriteTimeUtc(shared);
            PartialFolder.RemoveLeftovers(parent, now, disk);
            var abandoned = GiveUpLeftovers(parent, now, disk, alone: false);
            // The one before may still be on its way at other writers; those before that cannot be.
            if (share.Index == 0)
                abandoned.AddRange(GiveUp(parent, contents.Step, keepNewest: true, disk));
            var part = CheckpointFiles.Write(contents, share, files, disk);
            disk.FlushFolder(files);
            Tell(part, shared, share, disk);
            var saved = TryComplete(shared, final, share.Count, contents, disk);
            if (saved is null)
                return new ShareOutcome(null, abandoned);
            // All have written this one, so nobody still writes an earlier one.
            abandoned.AddRange(GiveUp(parent, contents.Step, keepNewest: false, disk));
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
        var own = PartialFolder.NameForTaken(final);
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

    /// <summary>Removes what killed processes left of checkpoints that several wrote together.</summary>
    /// <param name="parent">Where to look.</param>
    /// <param name="now">The time by the clock of that file system.</param>
    /// <param name="disk">Where it lies.</param>
    /// <param name="alone">Whether nobody writes together with others any more.</param>
    /// <returns>Those that were lost by that.</returns>
    internal static List<AbandonedCheckpoint> GiveUpLeftovers(string parent, DateTime now, Disk disk, bool alone) => PartialFolder.Leftovers(parent, now)
        .Select(folder => folder.EndsWith(Suffix, StringComparison.Ordinal) ? alone ? GiveUp(folder, disk)
            : null : folder.EndsWith(PartialFolder.TakenSuffix, StringComparison.Ordinal) ? GiveUpTaken(folder, disk) : null)
        .OfType<AbandonedCheckpoint>().ToList();

    // Removes what can never be completed.
    private static IEnumerable<AbandonedCheckpoint> GiveUp(string parent, long below, bool keepNewest, Disk disk)
    {
        var earlier = Directory.GetDirectories(parent, $".*{Suffix}").Where(folder => StepOf(folder) < below).OrderBy(StepOf).ToList();
        return (keepNewest ? earlier.SkipLast(1) : earlier).Select(folder => GiveUp(folder, disk)).OfType<AbandonedCheckpoint>().ToList();
    }

    // What is left of one that was completed is not worth a word.
    private static AbandonedCheckpoint? GiveUp(string shared, Disk disk)
    {
        if (StepOf(shared) is not { } step)
            return null;
        var writers = Name().Match(Path.GetFileName(shared)).Groups["writers"].Value;
        var lacking = Directory.Exists(Path.Combine(shared, FilesFolder)) && IsLacking(shared, step);
        var finished = Enumerable.Range(1, int.Parse(writers, CultureInfo.InvariantCulture)).Count(part => File.Exists(Path.Combine(shared, $"part-{part}-of-{writers}.json")));
        return PartialFolder.TryDelete(shared, disk) && lacking
            ? new AbandonedCheckpoint(step, $"{writers} workers wrote it together, and {finished} of them finished their part.")
            : null;
    }

    private static AbandonedCheckpoint? GiveUpTaken(string taken, Disk disk)
    {
        if (Taken().Match(Path.GetFileName(taken)) is not { Success: true } match)
            return null;
        var step = long.Parse(match.Groups["step"].ValueSpan, CultureInfo.InvariantCulture);
        return IsLacking(taken, step) & PartialFolder.TryDelete(taken, disk)
            ? new AbandonedCheckpoint(step, "All workers had written their part, and the one that was to complete it ended before it had done so.")
            : null;
    }

    private static bool IsLacking(string partial, long step) => !Directory.Exists(Path.Combine(Path.GetDirectoryName(partial)!, CheckpointFolder.NameOf(step)));

    private static long? StepOf(string shared) => Name().Match(Path.GetFileName(shared)) is { Success: true } match
        ? long.Parse(match.Groups["step"].ValueSpan, CultureInfo.InvariantCulture) : null;

    [GeneratedRegex(@"^\.step-(?<step>\d{1,18})\.[0-9a-z]+\.(?<writers>\d{1,9})\.shared\.partial$")]
    private static partial Regex Name();

    [GeneratedRegex(@"^\.step-(?<step>\d{1,18})\.")]
    private static partial Regex Taken();
}
