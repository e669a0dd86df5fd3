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
    private static readonly TimeSpan _abandoned = TimeSpan.FromMinutes(10);

    /// <summary>A name beside the final one, never used before.</summary>
    public static string NameFor(string final) => Path.Combine(
        Path.GetDirectoryName(final)!, $".{Path.GetFileName(final)}.{Environment.MachineName}.{Environment.ProcessId}.{Guid.NewGuid():N}.partial");

    /// <summary>Removes a folder so that no half-removed one is ever seen under its name; false where that is not possible just now.</summary>
    public static bool TryDelete(string folder)
    {
        var removed = NameFor(folder);
        try
        {
            Directory.Move(folder, removed);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return false; // somebody reads it (Windows); the next save tries again
        }
        TryRemove(removed);
        return true;
    }

    /// <summary>Removes a partial folder, if it is there.</summary>
    public static void TryRemove(string partial)
    {
        try
        {
            if (Directory.Exists(partial))
                Directory.Delete(partial, recursive: true);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // Its name keeps it from harming anybody, and a later save removes it.
        }
    }

    /// <summary>Removes what killed processes left. Young folders of processes that may still live stay: one believed dead may still be writing.</summary>
    /// <param name="parent">Where to look.</param>
    /// <param name="now">The time by the clock of that file system.</param>
    public static void RemoveLeftovers(string parent, DateTime now)
    {
        foreach (var leftover in Directory.GetDirectories(parent, ".*.partial"))
            if (IsOfDeadProcess(Path.GetFileName(leftover)) || Directory.GetLastWriteTimeUtc(leftover) < now - _abandoned)
                TryRemove(leftover);
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

    [GeneratedRegex(@"^\.step-\d+\.(?<machine>.+)\.(?<process>\d{1,9})\.[0-9a-f]{32}\.partial$")]
    private static partial Regex Owner();
}
