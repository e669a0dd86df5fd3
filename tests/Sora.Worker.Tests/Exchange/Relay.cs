using System.Net.Sockets;
using Sora.Protocol.Wire;
using Sora.Worker.Exchange;

namespace Sora.Worker.Tests.Exchange;

/// <summary>
/// A network in front of a worker's listener that cuts connections: the first one of each generation, after so many bytes,
/// in the middle of whatever that is.
/// </summary>
internal sealed class Relay : IDisposable
{
    private readonly string _target;
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly List<Thread> _threads = [];
    private readonly List<Socket> _sockets = [];
    private readonly Dictionary<long, long> _bytesUntilCut;
    private bool _disposed;

    /// <param name="path">Where to listen.</param>
    /// <param name="target">Endpoint to pass connections on to.</param>
    /// <param name="bytesUntilCut">By generation.</param>
    public Relay(string path, string target, Dictionary<long, long> bytesUntilCut)
    {
        (_target, _bytesUntilCut, Endpoint) = (target, new(bytesUntilCut), "unix:" + path);
        _listener.Bind(new UnixDomainSocketEndPoint(path));
        _listener.Listen();
        Start(() =>
        {
            while (true)
            {
                var dialer = _listener.Accept();
                if (!Keep(dialer))
                    return;
                Start(() => Pass(dialer));
            }
        });
    }

    public string Endpoint { get; }

    public void Dispose()
    {
        List<Thread> threads;
        lock (_sockets)
        {
            _disposed = true;
            _listener.Dispose();
            _sockets.ForEach(socket => socket.Dispose());
            threads = [.. _threads];
        }
        threads.ForEach(thread => thread.Join());
    }

    private void Pass(Socket dialer)
    {
        var head = new byte[FrameCodec.HeadBytes];
        SocketFrames.Receive(dialer, head);
        var address = ExchangeEndpoint.Parse(_target);
        var acceptor = ExchangeEndpoint.NewSocket(address);
        if (!Keep(acceptor))
            return;
        acceptor.Connect(address);
        acceptor.Send(head);
        var left = new Budget { Bytes = BudgetOf(FrameCodec.ReadHead(head).Header.Generation) };
        Start(() => Pump(acceptor, dialer, left));
        Pump(dialer, acceptor, left);
    }

    private long BudgetOf(long generation)
    {
        lock (_sockets)
            return _bytesUntilCut.Remove(generation, out var bytes) ? bytes : long.MaxValue;
    }

    private static void Pump(Socket from, Socket to, Budget left)
    {
        var buffer = new byte[64 * 1024];
        try
        {
            while (from.Receive(buffer) is > 0 and var count)
            {
                var allowed = (int)Math.Clamp(Interlocked.Add(ref left.Bytes, -count) + count, 0, count);
                SocketFrames.Send(to, buffer.AsSpan(0, allowed));
                if (allowed < count)
                    break;
            }
        }
        finally
        {
            from.Dispose();
            to.Dispose();
        }
    }

    private bool Keep(Socket socket)
    {
        lock (_sockets)
        {
            _sockets.Add(socket);
            if (_disposed)
                socket.Dispose();
            return !_disposed;
        }
    }

    private void Start(Action action)
    {
        var thread = new Thread(() =>
        {
            try
            {
                action();
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException or EndOfStreamException)
            {
                // One end is gone; so is the other, then.
            }
        })
        { IsBackground = true };
        lock (_sockets)
        {
            if (_disposed)
                return;
            _threads.Add(thread);
            thread.Start();
        }
    }

    private sealed class Budget
    {
        public long Bytes;
    }
}
