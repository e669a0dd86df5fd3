using System.Threading.Channels;
using Sora.Cli.Display;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Cli.Train;

/// <summary>
/// Follows a run to its end: shows and keeps its events, passes on the wish to stop, and notices when nobody is left to compute.
/// </summary>
/// <param name="display">Where events are shown.</param>
/// <param name="history">Where steps and evaluations are kept.</param>
/// <param name="signals">Ask for the end.</param>
/// <param name="workers">The workers of this machine.</param>
/// <param name="need">Workers the run cannot do without when all are of this machine; null when others may come from elsewhere.</param>
/// <param name="clock">Clock.</param>
internal sealed class RunFollower(IRunDisplay display, LossHistory history, StopSignals signals, WorkerProcesses workers, WorkerRange? need, TimeProvider clock)
{
    // The system tells of a process's end at about the time its coordinator does.
    private static readonly TimeSpan ExitGrace = TimeSpan.FromSeconds(0.2);
    // A run that fails by itself says why, once its decision is written down.
    private static readonly TimeSpan ExplanationGrace = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan StopGrace = TimeSpan.FromSeconds(20);

    private readonly Channel<RunEvent> _news = Channel.CreateUnbounded<RunEvent>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Dictionary<string, int> _processes = new(StringComparer.Ordinal);
    private readonly HashSet<string> _others = new(StringComparer.Ordinal);
    private readonly List<WorkerStaysDown> _down = [];
    private IReadOnlyList<string> _members = [];
    private bool _begun;
    private long _step;
    private string? _checkpoint;
    private bool _explanationAwaited;
    private bool _gaveUp;

    /// <summary>Returns the last event: finished, stopped or failed. It is kept but not shown: the caller shows it after what follows from it.</summary>
    public async Task<RunEvent> FollowAsync(FollowedRun run)
    {
        using var over = new CancellationTokenSource();
        Task[] others = [PumpAsync(run, over.Token), PumpAsync(workers.News, over.Token), StopWhenAskedAsync(run, over.Token)];
        try
        {
            await foreach (var happened in _news.Reader.ReadAllAsync())
            {
                // The workers are ended with this program then: that would look like a failure and is none.
                if (signals.IsEndingNow) await Task.Delay(Timeout.InfiniteTimeSpan, clock);
                if (happened is RunFinished or RunStopped or RunFailed) return Conclude(happened);
                if (happened is NobodyExplained) await GiveUpAsync(run, over.Token);
                else if (await LearnAsync(happened) is { } shown) display.Show(shown);
                if (IsHopeless && !_explanationAwaited)
                {
                    _explanationAwaited = true;
                    _ = SayLaterAsync(new NobodyExplained(), ExplanationGrace, over.Token);
                }
            }
            throw new SoraException("The coordinator ended without saying how the run ended. Run again with --resume auto.");
        }
        finally
        {
            workers.LetEnd();
            await over.CancelAsync();
            await Task.WhenAll(others).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    // Before the first generation the run needs those it begins with, later anybody at all.
    private bool IsHopeless => need is { } range && _others.Count == 0 && workers.Standing < (_begun ? 1 : range.Start);

    /// <returns>What to show of it; null: nothing.</returns>
    private async Task<RunEvent?> LearnAsync(RunEvent happened)
    {
        switch (happened)
        {
            case StepCommitted step:
                _step = Math.Max(_step, step.Step);
                workers.Succeeded(_members);
                _members = [];
                return history.Append(step) ? step : null;
            case Evaluated evaluation:
                return history.Append(evaluation) ? evaluation : null;
            case CheckpointSaved saved:
                _checkpoint = saved.Path;
                return saved;
            case GenerationFormed formed:
                (_members, _begun, _step) = (formed.Workers, true, Math.Max(_step, formed.FirstStep));
                return formed;
            case WorkerJoined joined:
                _processes[joined.Worker] = joined.ProcessId;
                if (workers.Find(joined.Worker) is null) _others.Add(joined.Worker);
                return joined;
            case WorkerLeft left:
                _others.Remove(left.Worker);
                return await ExplainAsync(left);
            case WorkerRefused refused:
                workers.Refused(refused.Worker);
                return refused;
            case WorkerStaysDown down:
                _down.Add(down);
                return down;
            default:
                return happened;
        }
    }

    /// <summary>The coordinator sees a connection close; whoever started the process knows why.</summary>
    private async Task<WorkerLeft> ExplainAsync(WorkerLeft left)
    {
        if (workers.Find(left.Worker) is not { } worker || !_processes.TryGetValue(left.Worker, out var process)) return left;
        if (worker.LastExit?.ProcessId != process) await Task.WhenAny(worker.Exit, Task.Delay(ExitGrace, clock));
        return worker.LastExit is { } exit && exit.ProcessId == process && exit.Code != ExitCode.Ok ? left with { Reason = exit.ToString() } : left;
    }

    /// <summary>Nobody is left and nobody said why: the run is stopped, so that it can be resumed.</summary>
    private async Task GiveUpAsync(FollowedRun run, CancellationToken over)
    {
        _explanationAwaited = false;
        if (!IsHopeless || _gaveUp) return;
        _gaveUp = true;
        await run.StopAsync("no worker is left");
        _ = SayLaterAsync(new RunStopped(_step, _checkpoint, "no worker is left"), StopGrace, over);
    }

    private RunEvent Conclude(RunEvent end)
    {
        // Workers that were told to end are no failure: the last of them left a checkpoint.
        if (!_gaveUp || end is not RunStopped stopped || _down.TrueForAll(down => down.Why.Length == 0)) return end;
        var last = _down[^1];
        var names = string.Join("; ", _down.Select(down => $"{down.Worker} ended, {down.Reason}{(down.Why.Length > 0 ? $", and stays down: {down.Why}" : "")}"));
        var code = workers.Find(last.Worker)?.LastExit?.Code is > ExitCode.Ok and < 128 and var own ? own : ExitCode.Failure;
        return new RunFailed(stopped.Step, $"{(_begun ? "no worker is left" : $"the run needs {need!.Value.Start} workers to begin and cannot get them")}: {names}.", last.Worker, stopped.Checkpoint, code);
    }

    private async Task PumpAsync(FollowedRun run, CancellationToken over)
    {
        try
        {
            await foreach (var happened in run.Events.WithCancellation(over)) _news.Writer.TryWrite(happened);
            _news.Writer.TryComplete();
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            _news.Writer.TryComplete(e);
        }
    }

    private async Task PumpAsync(ChannelReader<RunEvent> reader, CancellationToken over)
    {
        await foreach (var happened in reader.ReadAllAsync(over)) _news.Writer.TryWrite(happened);
    }

    private async Task StopWhenAskedAsync(FollowedRun run, CancellationToken over)
    {
        await Task.WhenAny(signals.Asked, Task.Delay(Timeout.InfiniteTimeSpan, clock, over));
        if (!signals.Asked.IsCompleted) return;
        workers.LetEnd();
        _news.Writer.TryWrite(new RunWarning($"{await signals.Asked}: stopping after this step with a checkpoint; once more ends now without one"));
        await run.StopAsync(await signals.Asked);
    }

    private async Task SayLaterAsync(RunEvent what, TimeSpan pause, CancellationToken over)
    {
        await Task.Delay(pause, clock, over).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (!over.IsCancellationRequested) _news.Writer.TryWrite(what);
    }

    /// <summary>The time for a better explanation is over.</summary>
    private sealed record NobodyExplained : RunEvent;
}
