using System.Collections.Concurrent;
using Sora.Cli.Display;
using Sora.Coordinator;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Cli.Train;

/// <summary>Follows a run to its end: shows and keeps its events, passes on the wish to stop, and notices workers that die silently.</summary>
internal sealed class RunFollower(IRunDisplay display, LossHistory history, StopSignals signals, TimeProvider clock)
{
    // The coordinator explains the death of a worker that it knows, once it has looked for the cause among the others.
    private static readonly TimeSpan ExplanationGrace = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan UnknownGrace = TimeSpan.FromSeconds(1);

    private readonly ConcurrentDictionary<string, bool> _known = [];

    /// <summary>Returns the last event: finished, stopped or failed. It is kept but not shown: the caller shows it after what follows from it.</summary>
    /// <exception cref="SoraException">A worker process ended and nobody explained it.</exception>
    public async Task<RunEvent> FollowAsync(RunHandle run, WorkerProcesses workers)
    {
        using var over = new CancellationTokenSource();
        var events = ReadAsync(run);
        var stop = StopWhenAskedAsync(run, over.Token);
        var death = DeathAsync(workers, events, over.Token);
        try
        {
            await Task.WhenAny(events, death);
            if (!events.IsCompleted) await death; // throws what it found
            return await events;
        }
        finally
        {
            await over.CancelAsync();
            await stop;
            await death.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task<RunEvent> ReadAsync(RunHandle run)
    {
        await foreach (var happened in run.Events)
        {
            // The workers are ended with this program then: that would look like a failure and is none.
            if (signals.IsEndingNow) await Task.Delay(Timeout.InfiniteTimeSpan, clock);
            if (happened is StepCommitted step) history.Append(step);
            if (happened is Evaluated evaluation) history.Append(evaluation);
            if (happened is RunFinished or RunStopped or RunFailed) return happened;
            if (happened is WorkerJoined joined) _known[joined.Worker] = true;
            display.Show(happened);
        }
        throw new SoraException("The coordinator ended without saying how the run ended. Run again with --resume auto.");
    }

    private async Task StopWhenAskedAsync(RunHandle run, CancellationToken over)
    {
        await Task.WhenAny(signals.Asked, Task.Delay(Timeout.InfiniteTimeSpan, clock, over));
        if (!signals.Asked.IsCompleted) return;
        display.Show(new RunWarning($"{await signals.Asked}: stopping after this step with a checkpoint; once more ends now without one"));
        await run.StopAsync(await signals.Asked);
    }

    private async Task DeathAsync(WorkerProcesses workers, Task events, CancellationToken over)
    {
        if (await Task.WhenAny(workers.FirstExit, Task.Delay(Timeout.InfiniteTimeSpan, clock, over)) is not Task<Worker> exit) return;
        var worker = await exit;
        await Task.WhenAny(events, Task.Delay(_known.ContainsKey(worker.Name) ? ExplanationGrace : UnknownGrace, clock, over));
        if (events.IsCompleted || over.IsCancellationRequested) return;
        throw new SoraException(FailureReport.OfWorker(worker), worker.ExitCode is > 0 and < 128 ? worker.ExitCode : ExitCode.Failure);
    }
}
