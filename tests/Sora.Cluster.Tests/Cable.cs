using System.Net;
using System.Net.Sockets;

namespace Sora.Cluster.Tests;

/// <summary>
/// The network between somebody who dials and a port of this machine. It can be cut, and it can stop carrying bytes in one
/// direction: they are kept and arrive late, as TCP sends again what a network lost.
/// </summary>
internal sealed class Cable : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _over = new();
    private readonly List<TcpClient> _ends = [];
    private readonly List<Task> _carrying = [];
    private readonly int _to;
    private readonly Task _accepting;
    private TaskCompletionSource _there = Open();
    private TaskCompletionSource _back = Open();
    private TaskCompletionSource _dialled = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool _cut;

    public Cable(int to)
    {
        _to = to;
        _listener.Start();
        Address = $"http://{_listener.LocalEndpoint}";
        _accepting = AcceptAsync();
    }

    /// <summary>Where to dial instead.</summary>
    public string Address { get; }

    /// <summary>What the one who dials says arrives no more.</summary>
    public void HoldThere() => _there = Closed();

    /// <summary>What the one who is dialled says arrives no more.</summary>
    public void HoldBack() => _back = Closed();

    /// <summary>Connections break, and nobody answers a dial.</summary>
    public void Cut()
    {
        lock (_ends)
        {
            _cut = true;
            foreach (var end in _ends)
                end.Dispose();
            _ends.Clear();
        }
    }

    /// <summary>All is well again, and what was held arrives.</summary>
    public void Mend()
    {
        lock (_ends)
            _cut = false;
        _there.TrySetResult();
        _back.TrySetResult();
    }

    /// <summary>Completes at the next dial.</summary>
    public Task DialledAsync()
    {
        lock (_ends)
            return (_dialled = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
    }

    public async ValueTask DisposeAsync()
    {
        await _over.CancelAsync();
        Mend();
        Cut();
        _listener.Dispose();
        await _accepting;
        await Task.WhenAll(_carrying);
        _over.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            TcpClient dialler, dialled = new();
            try
            {
                dialler = await _listener.AcceptTcpClientAsync(_over.Token);
                await dialled.ConnectAsync(IPAddress.Loopback, _to, _over.Token);
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException)
            {
                dialled.Dispose();
                return; // it is over, or there is nobody to dial any more
            }
            lock (_ends)
            {
                _dialled.TrySetResult();
                if (_cut)
                {
                    dialler.Dispose();
                    dialled.Dispose();
                    continue;
                }
                _ends.AddRange([dialler, dialled]);
                _carrying.Add(CarryAsync(dialler, dialled, () => _there.Task));
                _carrying.Add(CarryAsync(dialled, dialler, () => _back.Task));
            }
        }
    }

    private async Task CarryAsync(TcpClient from, TcpClient to, Func<Task> open)
    {
        var bytes = new byte[64 * 1024];
        try
        {
            int count;
            while ((count = await from.GetStream().ReadAsync(bytes, _over.Token)) > 0)
            {
                await open().WaitAsync(_over.Token);
                await to.GetStream().WriteAsync(bytes.AsMemory(0, count), _over.Token);
            }
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException or InvalidOperationException or OperationCanceledException)
        {
            // One end is gone; so is the other, then.
        }
        from.Dispose();
        to.Dispose();
    }

    private static TaskCompletionSource Closed() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private static TaskCompletionSource Open()
    {
        var open = Closed();
        open.SetResult();
        return open;
    }
}
