using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using Sora.Protocol.Jobs;

namespace Sora.Worker.Exchange;

/// <summary>A connection that somebody has dialled.</summary>
/// <param name="Socket">The connection.</param>
/// <param name="Greeting">The greeting, if it has been read already.</param>
internal readonly record struct Incoming(Socket Socket, byte[]? Greeting);

/// <summary>
/// Where peers dial this worker: a Unix domain socket for those on the same host and TCP for the others. It listens
/// before the worker announces itself, so a peer that learns of it earlier than this worker learns of the generation
/// waits in the backlog instead of failing; and one that comes while an older generation still connects is kept for its own.
/// </summary>
internal sealed class ExchangeListener : IDisposable
{
    private const int Backlog = 512;
    private readonly List<Socket> _sockets = [];
    private readonly Queue<Incoming> _kept = new();
    private readonly string? _path;

    /// <param name="socketPath">File for the Unix domain socket, short enough for the system; null: TCP alone.</param>
    /// <param name="address">Address for TCP; null: the Unix domain socket alone.</param>
    public ExchangeListener(string? socketPath, IPAddress? address)
        : this(socketPath, address is null ? null : new IPEndPoint(address, 0), listening => $"tcp:{listening}")
    {
    }

    /// <exception cref="SoraException">That address is not this machine's, or something else uses the port.</exception>
    public ExchangeListener(ExchangeAddress address)
        : this(address.SocketPath, address.Tcp, address.Endpoint)
    {
    }

    private ExchangeListener(string? socketPath, IPEndPoint? tcp, Func<IPEndPoint, string> endpointOf)
    {
        var endpoints = new List<string>();
        try
        {
            if (socketPath is not null)
            {
                var socket = Listen(new UnixDomainSocketEndPoint(socketPath));
                _path = socketPath;
                _sockets.Add(socket);
                endpoints.Add("unix:" + socketPath);
            }
            if (tcp is not null)
            {
                var socket = Listen(tcp);
                _sockets.Add(socket);
                endpoints.Add(endpointOf((IPEndPoint)socket.LocalEndPoint!));
            }
        }
        catch (SocketException e) when (tcp is not null)
        {
            Dispose();
            throw new SoraException($"The worker cannot listen for its peers on {tcp}: {e.Message}. Choose an address of this machine and a free port with --bind.", ExitCode.Usage, e);
        }
        catch
        {
            Dispose();
            throw;
        }
        Endpoints = endpoints;
    }

    /// <summary>How to dial this worker, best first.</summary>
    public IReadOnlyList<string> Endpoints { get; }

    /// <summary>Keeps a connection for the next who accepts.</summary>
    public void KeepForLater(Incoming incoming)
    {
        lock (_kept)
        {
            _kept.Enqueue(incoming);
            // Nobody has proved anything yet. Who is dropped here dials again if it is in earnest.
            if (_kept.Count > Backlog)
                _kept.Dequeue().Socket.Dispose();
        }
    }

    /// <summary>Accepts connections on all sockets until cancelled, those kept for later first; what is left in the channel is the reader's to close.</summary>
    public async Task AcceptAsync(ChannelWriter<Incoming> accepted, CancellationToken cancellationToken)
    {
        List<Incoming> kept;
        lock (_kept)
        {
            kept = [.. _kept];
            _kept.Clear();
        }
        foreach (var incoming in kept)
        {
            if (!accepted.TryWrite(incoming))
                incoming.Socket.Dispose();
        }
        await Task.WhenAll(_sockets.Select(AcceptOne));

        async Task AcceptOne(Socket listener)
        {
            while (!cancellationToken.IsCancellationRequested)
            {
                try
                {
                    var socket = await listener.AcceptAsync(cancellationToken);
                    if (!accepted.TryWrite(new Incoming(socket, null)))
                        socket.Dispose();
                }
                catch (OperationCanceledException)
                {
                    return;
                }
                catch (SocketException e) when (e.SocketErrorCode is SocketError.ConnectionReset or SocketError.ConnectionAborted)
                {
                    // The dialer gave up while it was in the backlog; the listener is as good as before.
                }
            }
        }
    }

    public void Dispose()
    {
        foreach (var socket in _sockets)
            socket.Dispose();
        lock (_kept)
        {
            foreach (var incoming in _kept)
                incoming.Socket.Dispose();
            _kept.Clear();
        }
        if (_path is not null)
            File.Delete(_path);
    }

    private static Socket Listen(EndPoint endpoint)
    {
        var socket = ExchangeEndpoint.NewSocket(endpoint);
        socket.Bind(endpoint);
        socket.Listen(Backlog);
        return socket;
    }
}
