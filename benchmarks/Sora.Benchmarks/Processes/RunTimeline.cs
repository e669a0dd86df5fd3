using System.Diagnostics;
using System.Text.Json;
using Sora.Protocol.Runs;

namespace Sora.Benchmarks.Processes;

/// <summary>The events of a run, each with the moment at which whoever watches saw it (seconds on one clock).</summary>
internal sealed class RunTimeline
{
    private readonly Lock _gate = new();
    private readonly List<(double Time, RunEvent Event)> _events = [];
    private TaskCompletionSource _arrived = NewSignal();

    /// <summary>The clock of all times here.</summary>
    public static double Now => (double)Stopwatch.GetTimestamp() / Stopwatch.Frequency;

    /// <summary>Takes a line of <c>sora train --json</c>.</summary>
    public void Take(string line)
    {
        var now = Now;
        if (RunEventJson.Read(line) is not { } happened)
            return; // an event of the program, not of the run
        lock (_gate)
        {
            _events.Add((now, happened));
            _arrived.SetResult();
            _arrived = NewSignal();
        }
    }

    public IReadOnlyList<(double Time, T Event)> All<T>() where T : RunEvent
    {
        lock (_gate)
            return [.. _events.Where(entry => entry.Event is T).Select(entry => (entry.Time, (T)entry.Event))];
    }

    /// <summary>Waits for an event; those seen before <paramref name="since"/> do not count.</summary>
    /// <exception cref="TimeoutException">It does not come.</exception>
    public async Task<(double Time, T Event)> WaitAsync<T>(Func<T, bool> matching, double since, TimeSpan limit, CancellationToken cancellationToken) where T : RunEvent
    {
        var until = Now + limit.TotalSeconds;
        while (true)
        {
            Task arrived;
            lock (_gate)
            {
                foreach (var (time, happened) in _events)
                {
                    if (time >= since && happened is T wanted && matching(wanted))
                        return (time, wanted);
                    if (happened is RunFailed or RunStopped && typeof(T) != happened.GetType())
                        throw new InvalidOperationException($"The run ended: {RunEventJson.Write(happened)}");
                }
                arrived = _arrived.Task;
            }
            if (Now >= until)
                throw new TimeoutException($"No {typeof(T).Name} of the kind that was waited for came within {limit.TotalSeconds:0} s.");
            await arrived.WaitAsync(TimeSpan.FromSeconds(Math.Max(0.01, until - Now)), cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

    /// <summary>Committed steps of a recorded run: the loss and the gradient's norm, digit by digit.</summary>
    public static IReadOnlyDictionary<long, string> Losses(string outputFolder)
    {
        var losses = new Dictionary<long, string>();
        foreach (var line in File.ReadLines(Path.Combine(outputFolder, LossHistory.FileName)))
        {
            var json = JsonDocument.Parse(line).RootElement;
            if (json.GetProperty("event").GetString() == "step")
                losses.Add(json.GetProperty("step").GetInt64(), $"{json.GetProperty("loss").GetRawText()} {json.GetProperty("grad_norm").GetRawText()}");
        }
        return losses;
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
