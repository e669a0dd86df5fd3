using Sora.Protocol.Runs;

namespace Sora.Coordinator;

/// <summary>A run being carried out.</summary>
public sealed class RunHandle
{
    private readonly Action<string> _stop;

    internal RunHandle(string run, IAsyncEnumerable<RunEvent> events, Action<string> stop)
    {
        Run = run;
        Events = events;
        _stop = stop;
    }

    /// <summary>Id of the run.</summary>
    public string Run { get; }

    /// <summary>What happens, for one reader; the last event is the only <see cref="RunFinished"/>, <see cref="RunStopped"/> or <see cref="RunFailed"/>.</summary>
    public IAsyncEnumerable<RunEvent> Events { get; }

    /// <summary>Asks the run to stop with a checkpoint after the step being computed; <see cref="Events"/> tells when it has.</summary>
    public Task StopAsync(string reason)
    {
        _stop(reason);
        return Task.CompletedTask;
    }
}
