using System.Net.Sockets;
using Sora.Protocol.Exchange;
using Sora.Protocol.Wire;

namespace Sora.Worker.Exchange;

/// <summary>
/// The peers of a generation: the connections to them, who is gone and why, and how long nothing has moved. Its lock guards
/// all of the exchange; whatever one of the connections brings wakes the thread that waits.
/// </summary>
internal sealed class MeshPeers : IDisposable
{
    private static readonly TimeSpan FarewellTime = TimeSpan.FromSeconds(1);
    private readonly ExchangeGroup _group;
    private readonly TimeSpan _timeout;
    private readonly TimeProvider _time;
    private readonly ITimer _watch;
    private readonly Lock _closing = new();
    private readonly CancellationTokenSource _troubled = new();
    private readonly PeerConnection?[] _connections;
    private readonly Standing[] _standings;
    private long _lastProgress;
    private long _lastSaid;
    private volatile string? _closed;
    private volatile bool _anyGone;

    /// <summary>How a peer stands with this worker.</summary>
    private struct Standing
    {
        public string? Gone;
        public bool SaidGoodbye;
        public bool CannotSend;
        public int SendsPending;
    }

    /// <param name="group">The generation.</param>
    /// <param name="timeout">How long nothing at all may move while something is waited for.</param>
    /// <param name="time">Clock.</param>
    public MeshPeers(ExchangeGroup group, TimeSpan timeout, TimeProvider time)
    {
        (_group, _timeout, _time) = (group, timeout, time);
        _connections = new PeerConnection?[group.Members.Count];
        _standings = new Standing[group.Members.Count];
        _lastSaid = time.GetTimestamp();
        _watch = time.CreateTimer(_ => WakeUp(), null, timeout / 4, timeout / 4);
    }

    /// <summary>Guards the whole exchange.</summary>
    public object Gate { get; } = new();

    /// <summary>Cancelled as soon as a peer is gone.</summary>
    public CancellationToken Troubled => _troubled.Token;

    /// <summary>This worker has left.</summary>
    public bool Closed => _closed is not null;

    /// <summary>This worker has left, or a peer is gone. Cheap.</summary>
    public bool AnyTrouble => _anyGone || _closed is not null;

    /// <summary>Makes an authenticated connection, owned from here on, part of the mesh.</summary>
    /// <returns>False: there is one already, or this worker has left.</returns>
    public bool TryAdd(int rank, Socket socket, string endpoint, IFrameSink sink)
    {
        lock (Gate)
        {
            if (Closed || _connections[rank] is not null)
                return false;
            _connections[rank] = new PeerConnection(socket, rank, $"{_group.Members[rank].Worker} ({endpoint})");
            _connections[rank]!.Start(sink);
            return true;
        }
    }

    /// <summary>Ranks that are not connected yet.</summary>
    public List<int> Unconnected()
    {
        lock (Gate)
            return [.. Enumerable.Range(0, _connections.Length).Where(rank => rank != _group.Rank && _connections[rank] is null)];
    }

    /// <summary>Why the mesh cannot be completed any more, although nobody refused.</summary>
    public ExchangeBrokenException CannotConnect(Exception inner)
    {
        lock (Gate)
        {
            var generation = _group.Identity.Generation;
            var missing = Unconnected();
            if (!_anyGone)
                return new ExchangeBrokenException(
                    $"Generation {generation} did not connect within {_timeout.TotalSeconds:0} s; still missing: {string.Join(", ", missing.Select(Describe))}.", WorkersOf(missing), inner);
            var vanished = Vanished();
            return new ExchangeBrokenException($"Connecting generation {generation} failed: {FirstGone()}.", WorkersOf(vanished.Count > 0 ? vanished : missing), inner);
        }
    }

    public string Describe(int rank) => _connections[rank]?.Name ?? $"{_group.Members[rank].Worker} ({string.Join(" or ", _group.Members[rank].Endpoints)})";

    /// <summary>Queues a frame for a peer, unless nothing reaches it any more or this worker has left. Needs the lock.</summary>
    /// <param name="rank">The peer.</param>
    /// <param name="header">The frame's header.</param>
    /// <param name="address">Where its payload lies and stays untouched until it is sent.</param>
    /// <param name="payload">The payload itself, when it is small.</param>
    public void Send(int rank, in FrameHeader header, nint address, byte[]? payload = null)
    {
        if (Closed || _standings[rank].CannotSend || _connections[rank] is not { } connection)
            return;
        _standings[rank].SendsPending++;
        if (payload is null)
            connection.Send(header, address);
        else
            connection.Send(header, payload);
    }

    public bool AnySendPending()
    {
        foreach (var standing in _standings)
        {
            if (standing.SendsPending > 0)
                return true;
        }
        return false;
    }

    public void Sent(int rank)
    {
        lock (Gate)
            Moved(wake: --_standings[rank].SendsPending == 0);
    }

    public void CannotSend(int rank)
    {
        lock (Gate)
        {
            (_standings[rank].CannotSend, _standings[rank].SendsPending) = (true, 0);
            Monitor.PulseAll(Gate);
        }
    }

    public void Lost(int rank, string reason, bool saidGoodbye)
    {
        lock (Gate)
        {
            (_standings[rank].Gone, _standings[rank].SaidGoodbye) = (reason, saidGoodbye);
            _anyGone = true;
            Monitor.PulseAll(Gate);
        }
        // Not under the lock, and not on this thread: whoever gives up connecting joins it.
        _ = _troubled.CancelAsync();
    }

    /// <summary>Notes that something has moved. Needs the lock.</summary>
    public void Moved(bool wake)
    {
        _lastProgress = _time.GetTimestamp();
        if (wake)
            Monitor.PulseAll(Gate);
    }

    /// <summary>Lets the peers know, well before they lose patience, that something moves which they cannot see. Needs the lock.</summary>
    public void SayProgress(in FrameHeader header)
    {
        if (_time.GetElapsedTime(_lastSaid) < _timeout / 4)
            return;
        _lastSaid = _time.GetTimestamp();
        foreach (var rank in Peers())
            Send(rank, header, 0, []);
    }

    public void WakeUp()
    {
        lock (Gate)
            Monitor.PulseAll(Gate);
    }

    /// <summary>Waits, holding the lock, until something has moved; gives up when what is missing cannot come any more.</summary>
    public void Wait(IAwaited awaited)
    {
        ThrowIfClosed(awaited);
        ThrowIfGone(awaited);
        if (_time.GetElapsedTime(_lastProgress) >= _timeout)
        {
            var silent = Peers().Select(rank => awaited.Missing(rank) is { } missing ? $"{Describe(rank)}: {missing.What}" : null).OfType<string>();
            throw new ExchangeBrokenException(
                $"{awaited.Where}: nothing moved for {_timeout.TotalSeconds:0.#} s (ddp_timeout). Still missing: {string.Join("; ", silent.DefaultIfEmpty("room to send"))}.",
                WorkersOf(Vanished().Union(Silent(awaited))));
        }
        Monitor.Wait(Gate);
    }

    /// <summary>Ids of peers that keep back what is awaited, when nothing has moved for so long. Needs the lock.</summary>
    public IReadOnlyList<string> WaitsFor(IAwaited awaited, TimeSpan atLeast) =>
        !Closed && _time.GetElapsedTime(_lastProgress) >= atLeast ? WorkersOf(Silent(awaited)) : [];

    /// <summary>Throws when a peer is gone from which something is missing. Needs the lock.</summary>
    public void ThrowIfGone(IAwaited awaited)
    {
        if (!_anyGone)
            return;
        foreach (var rank in Peers())
        {
            if (_standings[rank].Gone is { } reason && awaited.Missing(rank) is { } missing)
                throw new ExchangeBrokenException($"{awaited.Where}: {Describe(rank)} {reason}. This worker was waiting for {missing.What}.", Suspects(awaited));
        }
    }

    /// <summary>Throws when a peer is gone, whatever it has sent before. Needs the lock.</summary>
    public void ThrowIfAnyGone()
    {
        if (_anyGone)
            throw new ExchangeBrokenException($"Generation {_group.Identity.Generation} cannot go on: {FirstGone()}.", WorkersOf(Vanished()));
    }

    public void ThrowIfClosed(IAwaited awaited)
    {
        if (_closed is { } reason)
            throw new ExchangeBrokenException($"{awaited.Where}: this worker has left the exchange of generation {_group.Identity.Generation}: {reason}");
    }

    /// <summary>Tells the peers why this worker leaves, and closes. After it returns no thread of a connection runs any more.</summary>
    public void Leave(FrameHeader bye, string reason)
    {
        lock (Gate)
        {
            _closed ??= reason;
            Monitor.PulseAll(Gate);
        }
        // Whoever comes second waits for the first to be done: both may rely on quiet memory afterwards.
        lock (_closing)
        {
            var connections = _connections.OfType<PeerConnection>().ToList();
            foreach (var connection in connections)
                connection.SayGoodbye(bye, reason);
            // One deadline for all: a few peers that take nothing in must not add up.
            var began = _time.GetTimestamp();
            foreach (var connection in connections)
                connection.Close(FarewellTime - _time.GetElapsedTime(began));
        }
    }

    private IEnumerable<int> Peers() => Enumerable.Range(0, _connections.Length).Where(rank => _connections[rank] is not null);

    /// <summary>Peers that are gone without a goodbye.</summary>
    private List<int> Vanished() => [.. Peers().Where(rank => _standings[rank] is { Gone: not null, SaidGoodbye: false })];

    /// <summary>One that vanished, or else one that said goodbye: it may have done so because of another.</summary>
    private string FirstGone()
    {
        var rank = Peers().Where(rank => _standings[rank].Gone is not null).MinBy(rank => _standings[rank].SaidGoodbye);
        return $"{Describe(rank)} {_standings[rank].Gone}";
    }

    private List<int> Silent(IAwaited awaited)
    {
        var missing = Peers().Where(rank => awaited.Missing(rank) is not null).ToList();
        if (missing.Count == 0)
            return [.. Peers().Where(rank => _standings[rank].SendsPending > 0)];
        var keepingBack = missing.Where(rank => awaited.Missing(rank) is { OnlyItCan: true }).ToList();
        return keepingBack.Count > 0 ? keepingBack : missing;
    }

    /// <summary>
    /// Whom to suspect when a peer is gone. One that said goodbye may only have been the first to lose patience with a third:
    /// if nothing has moved for long here either, the silent ones are named too.
    /// </summary>
    private List<string> Suspects(IAwaited awaited) =>
        WorkersOf(_time.GetElapsedTime(_lastProgress) >= _timeout / 2 ? Vanished().Union(Silent(awaited).Where(rank => _standings[rank].Gone is null)) : Vanished());

    private List<string> WorkersOf(IEnumerable<int> ranks) => [.. ranks.Order().Select(rank => _group.Members[rank].Worker)];

    public void Dispose()
    {
        _watch.Dispose();
        foreach (var connection in _connections)
            connection?.Dispose();
    }
}
