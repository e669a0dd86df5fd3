using System.Globalization;
using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints;

/// <summary>A checkpoint as a list shows it.</summary>
/// <param name="Path">Its folder.</param>
/// <param name="Step">Steps committed.</param>
/// <param name="Manifest">What it says of itself; null where that cannot be read.</param>
/// <param name="Problem">What is visibly wrong with it without reading every byte; null when nothing is.</param>
public sealed record CheckpointSummary(string Path, long Step, CheckpointManifest? Manifest, string? Problem);

/// <summary>Where a run begins.</summary>
/// <param name="Path">The checkpoint it goes on from; null: from the start.</param>
/// <param name="Warnings">Checkpoints that were passed over and why; to be shown.</param>
public sealed record ResumePoint(string? Path, IReadOnlyList<string> Warnings);

/// <summary>The checkpoints of a run's output folder.</summary>
public static class CheckpointCatalog
{
    private const string Prefix = "step-";

    /// <summary>The folder that holds the checkpoints of a run.</summary>
    public static string FolderOf(string outputDir) => Path.Combine(Path.GetFullPath(outputDir), "checkpoints");

    /// <summary>All checkpoints of a run, oldest step first, damaged ones included.</summary>
    /// <exception cref="SoraException">The folder cannot be read.</exception>
    public static IReadOnlyList<CheckpointSummary> List(string outputDir)
    {
        var folder = FolderOf(outputDir);
        try
        {
            return Directory.Exists(folder)
                ? [.. Directory.GetDirectories(folder, $"{Prefix}*").Select(Summarize).OfType<CheckpointSummary>().OrderBy(checkpoint => checkpoint.Step)]
                : [];
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"Cannot list {folder}: {exception.Message}", ExitCode.InvalidInput, exception);
        }
    }

    /// <summary>Decides where a run begins. Every byte of the checkpoint that is chosen has been verified.</summary>
    /// <param name="resume">
    /// <c>auto</c>: the newest sound checkpoint, or the start where there are none; <c>true</c>: the newest sound one;
    /// <c>false</c>: the start; anything else: a checkpoint, or the output folder of a run (its newest sound one).
    /// </param>
    /// <param name="outputDir">The run's output folder.</param>
    /// <exception cref="SoraException">There is no such checkpoint, none is sound, or a fresh start would mix with an earlier run.</exception>
    public static ResumePoint Resolve(string resume, string outputDir)
    {
        if (string.IsNullOrWhiteSpace(resume))
            throw new SoraException("--resume is empty: write auto, true, false, a checkpoint or the output folder of a run.", ExitCode.Usage);
        if (resume is not ("auto" or "true" or "false"))
        {
            if (!File.Exists(Path.Combine(resume, CheckpointManifest.FileName)) && List(resume).Count > 0)
                return NewestSound(resume);
            var problems = CheckpointFolder.Verify(resume);
            return problems.Count == 0
                ? new ResumePoint(Path.GetFullPath(resume), [])
                : throw new SoraException($"Cannot resume from {resume}: {string.Join(" ", problems)} Name another checkpoint; 'sora checkpoint list {outputDir}' shows what there is.", ExitCode.InvalidInput);
        }
        var checkpoints = List(outputDir);
        if (checkpoints.Count == 0)
        {
            return resume == "true"
                ? throw new SoraException($"Nothing to resume: {FolderOf(outputDir)} holds no checkpoint. Use --resume auto to begin where there is none.", ExitCode.InvalidInput)
                : new ResumePoint(null, []);
        }
        if (resume == "false")
            throw new SoraException($"{FolderOf(outputDir)} holds checkpoints up to step {checkpoints[^1].Step}, which a fresh start would mix with its own. Choose another output folder, remove that one, or use --resume auto to go on.", ExitCode.Usage);
        return NewestSound(outputDir);
    }

    /// <summary>The newest sound checkpoint of a run that has some. Every byte of it has been verified.</summary>
    /// <exception cref="SoraException">None is sound.</exception>
    internal static ResumePoint NewestSound(string outputDir) =>
        NewestSound(List(outputDir), checkpoint => CheckpointFolder.Verify(checkpoint.Path), FolderOf(outputDir));

    /// <summary>The newest sound one of some checkpoints.</summary>
    /// <param name="checkpoints">Oldest first; of two of the same step the later is tried first.</param>
    /// <param name="findProblems">What is wrong with one.</param>
    /// <param name="place">Where they are, in words.</param>
    /// <exception cref="SoraException">None is sound.</exception>
    internal static ResumePoint NewestSound(IEnumerable<CheckpointSummary> checkpoints, Func<CheckpointSummary, IReadOnlyList<string>> findProblems, string place)
    {
        var refused = new List<string>();
        foreach (var checkpoint in checkpoints.Reverse())
        {
            var problems = findProblems(checkpoint);
            if (problems.Count == 0)
                return new ResumePoint(checkpoint.Path, [.. refused.Select(one => $"{one} That of step {checkpoint.Step} is used instead.")]);
            refused.Add($"Checkpoint {checkpoint.Path} is refused: {string.Join(" ", problems)}");
        }
        throw new SoraException($"No checkpoint in {place} is sound, so the run cannot go on. {string.Join(" ", refused)} Restore one from a copy, or remove them to begin again.", ExitCode.InvalidInput);
    }

    /// <summary>
    /// Removes the oldest complete checkpoints above the limit. The newest and the one just written always stay; a damaged one
    /// is not counted and not removed, because a person may want to look at it.
    /// </summary>
    internal static void Prune(string outputDir, int limit, long justWritten, Disk disk)
    {
        if (limit == 0)
            return;
        var complete = List(outputDir).Where(checkpoint => checkpoint.Problem is null).ToList();
        var surplus = complete.Count - limit;
        foreach (var checkpoint in complete.SkipLast(1))
        {
            if (surplus <= 0)
                return;
            if (checkpoint.Step != justWritten && PartialFolder.TryDelete(checkpoint.Path, disk))
                surplus--;
        }
    }

    /// <summary>The step a checkpoint's name tells; null where it is none.</summary>
    internal static long? StepOf(string name) =>
        name.StartsWith(Prefix, StringComparison.Ordinal) && long.TryParse(name.AsSpan(Prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var step) ? step : null;

    private static CheckpointSummary? Summarize(string path)
    {
        if (StepOf(Path.GetFileName(path)) is not { } step)
            return null;
        try
        {
            var manifest = CheckpointManifest.Read(path);
            return new CheckpointSummary(path, step, manifest,
                manifest.Step != step ? $"its manifest is of step {manifest.Step}" : CheckpointFolder.FindMissing(path, manifest));
        }
        catch (SoraException exception)
        {
            return new CheckpointSummary(path, step, null, exception.Message);
        }
    }
}
