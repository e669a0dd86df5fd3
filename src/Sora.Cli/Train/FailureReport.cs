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

    /// <summary>For a worker process that ended without a word to the coordinator.</summary>
    public static string OfWorker(Worker worker)
    {
        var text = new StringBuilder($"{worker.Name} (process {worker.Id}) ended with exit code {worker.ExitCode}{Signal(worker.ExitCode)}.");
        AppendTail(text, worker);
        return text.ToString();
    }

    private static void AppendTail(StringBuilder text, Worker worker)
    {
        var lines = worker.Tail(TailLines);
        if (lines.Count == 0) return;
        text.Append($"\n  Last lines of {worker.Log}:");
        foreach (var line in lines) text.Append($"\n    {line}");
    }

    // .NET reports a process ended by a signal as a shell does.
    private static string Signal(int code) => code switch
    {
        134 => " (SIGABRT: a native library gave up)",
        137 => " (SIGKILL: often the system was out of memory)",
        139 => " (SIGSEGV: a native library crashed)",
        _ => "",
    };
}
