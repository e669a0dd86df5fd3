using System.Net;
using System.Net.Sockets;

namespace Sora.Coordinator.Tests.Cluster;

/// <summary>What the others dial to reach a coordinator. Closed, it lets nobody in any more; who is inside stays.</summary>
internal sealed class Gate : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _end = new();
    private readonly Task _accepting;
    private readonly int _target;

    public Gate(int target)
    {
        _target = target;
        _listener.Start();
        _accepting = AcceptAsync();
    }

    public string Address => _listener.LocalEndpoint.ToString()!;

    public bool IsOpen { get; set; } = true;

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        _listener.Dispose();
        await _accepting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _end.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (!_end.IsCancellationRequested)
        {
            var dialer = await _listener.AcceptTcpClientAsync(_end.Token);
            if (IsOpen)
                _ = PassAsync(dialer);
            else
                dialer.Dispose();
        }
    }

    private async Task PassAsync(TcpClient dialer)
    {
        using var from = dialer;
        using var to = new TcpClient();
        try
        {
            await to.ConnectAsync(IPAddress.Loopback, _target, _end.Token);
            await Task.WhenAny(from.GetStream().CopyToAsync(to.GetStream(), _end.Token), to.GetStream().CopyToAsync(from.GetStream(), _end.Token));
        }
        catch (Exception e) when (e is SocketException or IOException or OperationCanceledException)
        {
            // One end is gone; so is the other, then.
        }
    }
}
