using System.Runtime.InteropServices;

namespace Sora.Cli.Train;

/// <summary>
/// Ctrl-C and SIGTERM: the first asks to stop with a checkpoint, the second ends the program at once.
/// </summary>
internal sealed class StopSignals : IDisposable
{
    private readonly TaskCompletionSource<string> _asked = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _cancellation = new();
    private readonly PosixSignalRegistration[] _registrations;
    private readonly Action<int> _endNow;

    /// <param name="endNow">Ends the program with the exit code of the signal; called for the second signal.</param>
    public StopSignals(Action<int> endNow)
    {
        _endNow = endNow;
        _registrations =
        [
            PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal),
            PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal),
        ];
    }

    /// <summary>Completes with the signal's name, or what else asked, when a stop is first asked for.</summary>
    public Task<string> Asked => _asked.Task;

    /// <summary>Cancelled at the same moment, for work that can simply be dropped.</summary>
    public CancellationToken Token => _cancellation.Token;

    /// <summary>Whether the second signal came: what happens from then on is the program's own end and nothing to tell.</summary>
    public bool IsEndingNow { get; private set; }

    /// <summary>What a shell reports for a program ended by what asked; 130 before anything has.</summary>
    public int ExitCode { get; private set; } = CodeOf(PosixSignal.SIGINT);

    /// <summary>Asks to stop as the first signal does.</summary>
    /// <returns>False when that was asked before.</returns>
    public bool Ask(string reason, int exitCode)
    {
        ExitCode = exitCode;
        if (!_asked.TrySetResult(reason)) return false;
        _cancellation.Cancel();
        return true;
    }

    public void Dispose()
    {
        foreach (var registration in _registrations) registration.Dispose();
        _cancellation.Dispose();
    }

    private static int CodeOf(PosixSignal signal) => signal == PosixSignal.SIGTERM ? 143 : 130;

    private void OnSignal(PosixSignalContext context)
    {
        context.Cancel = true;
        if (Ask(context.Signal == PosixSignal.SIGTERM ? "SIGTERM" : "Ctrl-C", CodeOf(context.Signal))) return;
        IsEndingNow = true;
        _endNow(ExitCode);
    }
}
