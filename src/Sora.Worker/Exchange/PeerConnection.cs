using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text;
using Sora.Protocol.Wire;

namespace Sora.Worker.Exchange;

/// <summary>Who takes in what a <see cref="PeerConnection"/> receives. Called on the connection's own threads.</summary>
internal interface IFrameSink
{
    /// <summary>Where a payload of gradients or state goes; zero: nowhere, drop it.</summary>
    /// <exception cref="InvalidFrameException">No such frame may arrive now.</exception>
    nint Place(PeerConnection peer, in FrameHeader header);

    /// <summary>A payload of gradients or state lies, verified, where <see cref="Place"/> said.</summary>
    void Arrived(PeerConnection peer, in FrameHeader header);

    /// <summary>Any other payload, verified.</summary>
    /// <exception cref="InvalidFrameException">Its content is wrong.</exception>
    void Arrived(PeerConnection peer, in FrameHeader header, byte[] payload);

    /// <summary>One queued frame has been handed to the system: its memory is the caller's again.</summary>
    void Sent(PeerConnection peer);

    /// <summary>Nothing more can be sent to this peer; what it has sent may still be on the way.</summary>
    void CannotSend(PeerConnection peer);

    /// <summary>Nothing more will arrive from this peer. Comes once.</summary>
    void Lost(PeerConnection peer, string reason, bool saidGoodbye);
}

/// <summary>
/// One authenticated connection to a peer: a thread that sends queued frames and a thread that receives straight into the
/// memory a frame belongs to. Receiving never waits for sending, so two workers that send to each other cannot block for good.
/// </summary>
internal sealed unsafe class PeerConnection : IDisposable
{
    private readonly Socket _socket;
    private readonly BlockingCollection<Outgoing> _outgoing = [];
    private readonly Thread _sender;
    private readonly Thread _receiver;
    private readonly byte[] _head = GC.AllocateArray<byte>(FrameCodec.HeadBytes, pinned: true);
    private IFrameSink? _sink;
    private volatile bool _leaving;
    private volatile string? _cannotSend;

    private readonly record struct Outgoing(FrameHeader Header, nint Address, byte[]? Bytes);

    /// <param name="socket">Connected and authenticated; owned from here on.</param>
    /// <param name="rank">The peer's rank.</param>
    /// <param name="name">The peer's worker id and endpoint, for messages.</param>
    public PeerConnection(Socket socket, int rank, string name)
    {
        (_socket, Rank, Name) = (socket, rank, name);
        _sender = new Thread(SendLoop) { IsBackground = true, Name = $"exchange to rank {rank}" };
        _receiver = new Thread(ReceiveLoop) { IsBackground = true, Name = $"exchange from rank {rank}" };
    }

    public int Rank { get; }

    public string Name { get; }

    public void Start(IFrameSink sink)
    {
        _sink = sink;
        _sender.Start();
        _receiver.Start();
    }

    /// <summary>Queues a frame whose payload lies at <paramref name="address"/> and stays untouched until it is sent.</summary>
    public void Send(in FrameHeader header, nint address) => _outgoing.Add(new Outgoing(header, address, null));

    /// <summary>Queues a frame with a small payload.</summary>
    public void Send(in FrameHeader header, byte[] payload) => _outgoing.Add(new Outgoing(header, 0, payload));

    /// <summary>Drops what is queued and tells the peer why this worker leaves.</summary>
    public void SayGoodbye(FrameHeader bye, string reason)
    {
        if (_leaving)
            return;
        _leaving = true;
        var payload = Encoding.UTF8.GetBytes(reason);
        Array.Resize(ref payload, Math.Min(payload.Length, FrameCodec.MaxPayloadBytes));
        _outgoing.Add(new Outgoing(bye with { Phase = ExchangePhase.Bye, PayloadBytes = payload.Length }, 0, payload));
        _outgoing.CompleteAdding();
    }

    /// <summary>Closes, and returns when no thread touches frame memory any more.</summary>
    /// <param name="patience">How long the goodbye may take to leave.</param>
    public void Close(TimeSpan patience)
    {
        if (_sender.Join(patience > TimeSpan.Zero ? patience : TimeSpan.Zero))
            TryShutdown(SocketShutdown.Send);
        _socket.Dispose();
        _sender.Join();
        _receiver.Join();
    }

    public void Dispose()
    {
        SayGoodbye(default, "");
        Close(TimeSpan.Zero);
        _outgoing.Dispose();
    }

    private void SendLoop()
    {
        var head = new byte[FrameCodec.HeadBytes];
        try
        {
            foreach (var frame in _outgoing.GetConsumingEnumerable())
            {
                if (_leaving && frame.Header.Phase != ExchangePhase.Bye)
                    continue;
                var payload = frame.Bytes is { } bytes ? bytes : new ReadOnlySpan<byte>((void*)frame.Address, frame.Header.PayloadBytes);
                FrameCodec.WriteHead(frame.Header, payload, head);
                SocketFrames.Send(_socket, head);
                SocketFrames.Send(_socket, payload);
                _sink!.Sent(this);
            }
        }
        catch (Exception e)
        {
            // Whatever it is, it ends this connection and with it the step; unnoticed, the training thread would wait for good.
            // What the peer has sent, its goodbye above all, is still worth reading: the receiver ends by itself.
            _cannotSend = "could not be sent to: " + e.Message;
            if (!_leaving)
                _sink!.CannotSend(this);
            TryShutdown(SocketShutdown.Both);
        }
    }

    private void ReceiveLoop()
    {
        try
        {
            while (SocketFrames.TryReceive(_socket, _head))
            {
                var (header, crc) = FrameCodec.ReadHead(_head);
                if (header.Phase is ExchangePhase.GradientScatter or ExchangePhase.GradientResult or ExchangePhase.StateChunk)
                    ReceiveInPlace(header, crc);
                else if (!ReceiveOther(header, crc))
                    return;
            }
            Lost("closed the connection without a goodbye: its process has ended, or its host is gone");
        }
        catch (Exception e)
        {
            Lost(e is InvalidFrameException ? "sent something wrong: " + e.Message : "was cut off: " + e.Message);
        }
    }

    private void Lost(string reason)
    {
        if (!_leaving)
            _sink!.Lost(this, _cannotSend ?? reason, saidGoodbye: false);
    }

    private void ReceiveInPlace(in FrameHeader header, uint crc)
    {
        var address = _sink!.Place(this, header);
        var payload = address == 0 ? new byte[header.PayloadBytes] : new Span<byte>((void*)address, header.PayloadBytes);
        SocketFrames.Receive(_socket, payload);
        FrameCodec.CheckPayload(payload, crc);
        if (address != 0)
            _sink.Arrived(this, header);
    }

    /// <returns>False after the peer's goodbye.</returns>
    private bool ReceiveOther(in FrameHeader header, uint crc)
    {
        var payload = new byte[header.PayloadBytes];
        SocketFrames.Receive(_socket, payload);
        FrameCodec.CheckPayload(payload, crc);
        if (header.Phase is not ExchangePhase.Bye)
        {
            _sink!.Arrived(this, header, payload);
            return true;
        }
        _sink!.Lost(this, "left: " + Encoding.UTF8.GetString(payload), saidGoodbye: true);
        return false;
    }

    private void TryShutdown(SocketShutdown how)
    {
        try
        {
            _socket.Shutdown(how);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The peer was faster; there is nothing left to shut down.
        }
    }
}
