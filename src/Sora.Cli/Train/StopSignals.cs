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

    /// <summary>Completes with the signal's name when the user first asks to stop.</summary>
    public Task<string> Asked => _asked.Task;

    /// <summary>Cancelled at the same moment, for work that can simply be dropped.</summary>
    public CancellationToken Token => _cancellation.Token;

    /// <summary>What a shell reports for a program ended by the signal that came; 130 before any.</summary>
    public int ExitCode { get; private set; } = CodeOf(PosixSignal.SIGINT);

    public void Dispose()
    {
        foreach (var registration in _registrations) registration.Dispose();
        _cancellation.Dispose();
    }

    private static int CodeOf(PosixSignal signal) => signal == PosixSignal.SIGTERM ? 143 : 130;

    private void OnSignal(PosixSignalContext context)
    {
        context.Cancel = true;
        ExitCode = CodeOf(context.Signal);
        if (_asked.TrySetResult(context.Signal == PosixSignal.SIGTERM ? "SIGTERM" : "Ctrl-C")) _cancellation.Cancel();
        else _endNow(ExitCode);
    }
}
