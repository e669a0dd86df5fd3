using System.Text;
using Sora.Protocol.Runs;

namespace Sora.Cli.Train;

/// <summary>A failure as one block: what, where, the last lines the worker wrote, and what to do.</summary>
internal static class FailureReport
{
    private const int TailLines = 20;

    /// <summary>For a run that failed.</summary>
    public static string Of(RunFailed failure, IReadOnlyList<Worker> workers, string resumeCommand)
    {
        var text = new StringBuilder();
        text.Append($"the run failed at step {failure.Step}{(failure.Worker is null ? "" : $" on {failure.Worker}")}: {failure.Message}");
        if (failure.Worker is not null && workers.FirstOrDefault(worker => worker.Name == failure.Worker) is { } worker) AppendTail(text, worker);
        text.Append(failure.Checkpoint is null
            ? "\n  There is no checkpoint yet; run again to begin anew."
            : $"\n  To go on from {failure.Checkpoint}: {resumeCommand}");
        return text.ToString();
    }

    private static void AppendTail(StringBuilder text, Worker worker)
    {
        var lines = worker.Tail(TailLines);
        if (lines.Count == 0) return;
        text.Append($"\n  Last lines of {worker.Log}:");
        foreach (var line in lines) text.Append($"\n    {line}");
    }
}
