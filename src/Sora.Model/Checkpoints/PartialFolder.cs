using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace Sora.Model.Checkpoints;

/// <summary>
/// Folders on their way in or out: named so that nobody takes them for checkpoints, and after the process that works on
/// them, so that what a killed one left can be removed.
/// </summary>
internal static partial class PartialFolder
{
    /// <summary>How the names of those end that several processes write into.</summary>
    public const string SharedSuffix = ".shared.partial";

    /// <summary>How the names of those end that one of several writers has taken for itself, to complete them.</summary>
    public const string TakenSuffix = ".taken.partial";

    private const string UploadSuffix = ".upload.partial";

    private static readonly TimeSpan _abandoned = TimeSpan.FromMinutes(10);

    // Nothing is written into a folder while it is uploaded, and that may take long.
    private static readonly TimeSpan _abandonedUpload = TimeSpan.FromDays(1);

    /// <summary>A name beside the final one, never used before.</summary>
    public static string NameFor(string final) => Path.Combine(
        Path.GetDirectoryName(final)!, $".{Path.GetFileName(final)}.{Environment.MachineName}.{Environment.ProcessId}.{Guid.NewGuid():N}.partial");

    /// <summary>As <see cref="NameFor"/>, for files that are uploaded and then removed.</summary>
    public static string NameForUpload(string final) => Path.ChangeExtension(NameFor(final), null) + UploadSuffix;

    /// <summary>As <see cref="NameFor"/>, for what several have written.</summary>
    public static string NameForTaken(string final) => Path.ChangeExtension(NameFor(final), null) + TakenSuffix;

    /// <summary>Removes a folder so that no half-removed one is ever seen under its name; false where that is not possible just now.</summary>
    public static bool TryDelete(string folder, Disk disk) =>
        TryTakeAway(folder, NameFor(Step().Match(Path.GetFileName(folder)) is { Success: true } step ? Path.Combine(Path.GetDirectoryName(folder)!, step.Value) : folder), disk);

    /// <summary>Removes a partial folder of this process, if it is there.</summary>
    public static void TryRemove(string partial, Disk disk)
    {
        try
        {
            if (Directory.Exists(partial))
                disk.Remove(partial);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // Its name keeps it from harming anybody, and a later save removes it.
        }
    }

    /// <summary>Removes what killed processes left of their own; what several wrote together is <see cref="SharedSave"/>'s to give up.</summary>
    /// <param name="parent">Where to look.</param>
    /// <param name="now">The time by the clock of that file system.</param>
    /// <param name="disk">Where it lies.</param>
    public static void RemoveLeftovers(string parent, DateTime now, Disk disk)
    {
        foreach (var leftover in Leftovers(parent, now))
            if (!leftover.EndsWith(SharedSuffix, StringComparison.Ordinal) && !leftover.EndsWith(TakenSuffix, StringComparison.Ordinal))
                // Under a name of its own first: if the owner lives after all, its rename finds nothing instead of half a checkpoint.
                TryDelete(leftover, disk);
    }

    /// <summary>What killed processes left. Young folders of processes that may still live are not among it: one believed dead may still be writing.</summary>
    public static IEnumerable<string> Leftovers(string parent, DateTime now) => Directory.GetDirectories(parent, ".*.partial").Where(folder =>
        IsOfDeadProcess(Path.GetFileName(folder)) || LastWrite(folder) < now - (folder.EndsWith(UploadSuffix, StringComparison.Ordinal) ? _abandonedUpload : _abandoned));

    private static bool TryTakeAway(string folder, string partial, Disk disk)
    {
        try
        {
            disk.Move(folder, partial);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return false; // somebody reads it (Windows) or was faster; the next save tries again
        }
        TryRemove(partial, disk);
        return true;
    }

    // A large file takes long to write, and the folder's own time stands still meanwhile.
    private static DateTime LastWrite(string folder)
    {
        try
        {
            return Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Select(File.GetLastWriteTimeUtc).Append(Directory.GetLastWriteTimeUtc(folder)).Max();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return DateTime.MaxValue; // published or removed just now, or not ours to look at
        }
    }

    private static bool IsOfDeadProcess(string name)
    {
        var match = Owner().Match(name);
        if (!match.Success || match.Groups["machine"].Value != Environment.MachineName)
            return false;
        try
        {
            using var process = Process.GetProcessById(int.Parse(match.Groups["process"].Value, CultureInfo.InvariantCulture));
            return process.HasExited;
        }
        catch (ArgumentException)
        {
            return true;
        }
    }

    [GeneratedRegex(@"^\.step-\d+\.(?<machine>.+)\.(?<process>\d{1,9})\.[0-9a-f]{32}(\.upload|\.taken)?\.partial$")]
    private static partial Regex Owner();

    [GeneratedRegex(@"step-\d+")]
    private static partial Regex Step();
}
