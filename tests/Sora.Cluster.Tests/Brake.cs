using System.Runtime.InteropServices;

namespace Sora.Cluster.Tests;

/// <summary>Makes a process slow: it stands still nine tenths of the time.</summary>
internal sealed partial class Brake : IAsyncDisposable
{
    private const int SigCont = 18;
    private const int SigStop = 19;

    private readonly CancellationTokenSource _released = new();
    private readonly Task _braking;

    public Brake(SoraProcess process) => _braking = BrakeAsync(process.Id);

    /// <summary>From now on it is as fast as ever.</summary>
    public async Task ReleaseAsync()
    {
        await _released.CancelAsync();
        await _braking;
    }

    public async ValueTask DisposeAsync()
    {
        await ReleaseAsync();
        _released.Dispose();
    }

    private async Task BrakeAsync(int process)
    {
        while (!_released.IsCancellationRequested && Kill(process, SigStop) == 0)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(90), _released.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (Kill(process, SigCont) != 0)
                return;
            await Task.Delay(TimeSpan.FromMilliseconds(10), _released.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int process, int signal);
}
