using System.Net.Sockets;
using System.Runtime.InteropServices;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Wire;
using Sora.Worker.Exchange;

namespace Sora.Worker.Tests.Exchange;

/// <summary>A peer of rank 0, usually rank 1 of two, which knows the secret but sends what a test tells it to.</summary>
internal sealed class RawPeer : IDisposable
{
    private readonly Socket _socket;
    private readonly ExchangeIdentity _identity;

    private RawPeer(Socket socket, ExchangeIdentity identity) => (_socket, _identity) = (socket, identity);

    /// <summary>Rank 0 as it is, and a raw rank 1 connected to it.</summary>
    public static async Task<(MeshExchange Exchange, RawPeer Peer)> ConnectAsync(Mesh mesh, long parameters, StateRegion[]? served = null, TimeProvider? time = null)
    {
        var exchange = mesh.ConnectAsync(0, parameters, time: time, served: served);
        var peer = await DialAsync(mesh);
        return (await exchange, peer);
    }

    /// <summary>A raw peer, welcomed by rank 0.</summary>
    public static Task<RawPeer> DialAsync(Mesh mesh, int rank = 1) => Mesh.OnThread(() =>
    {
        var address = ExchangeEndpoint.Parse(mesh.Members[0].Endpoints[0]);
        var socket = ExchangeEndpoint.NewSocket(address);
        socket.Connect(address);
        var identity = mesh.Group(rank).Identity;
        var handshake = new DialerHandshake(identity, acceptor: 0);
        SocketFrames.SendHandshake(socket, identity, ExchangePhase.Greeting, handshake.Greeting());
        SocketFrames.SendHandshake(socket, identity, ExchangePhase.Proof, handshake.Answer(SocketFrames.ReceiveHandshake(socket).Payload));
        Assert.Equal(ExchangePhase.Welcome, SocketFrames.ReceiveHandshake(socket).Phase);
        return new RawPeer(socket, identity);
    });

    public void Totals(long sequence, long step, params LaneTotals[] totals)
    {
        var payload = TotalsPayload.Write(totals, stopRequested: false);
        Send(Header(sequence, step, ExchangePhase.Totals, default, 0, payload.Length), payload);
    }

    /// <summary>Sends a piece of this peer's gradient to rank 0.</summary>
    public void Scatter(long sequence, long step, LaneRange node, long offset, ReadOnlySpan<float> values, ulong? run = null, long? generation = null)
    {
        var payload = MemoryMarshal.AsBytes(values);
        var header = Header(sequence, step, ExchangePhase.GradientScatter, node, offset, payload.Length);
        Send(header with { Run = run ?? header.Run, Generation = generation ?? header.Generation }, payload);
    }

    /// <summary>Sends a piece of the chunk this peer owns.</summary>
    public void Result(long sequence, long step, long offset, ReadOnlySpan<float> values)
    {
        var payload = MemoryMarshal.AsBytes(values);
        Send(Header(sequence, step, ExchangePhase.GradientResult, default, offset, payload.Length) with { Chunk = 1 }, payload);
    }

    public void Send(in FrameHeader header, ReadOnlySpan<byte> payload, Action<byte[]>? damage = null)
    {
        var bytes = new byte[FrameCodec.HeadBytes + payload.Length];
        FrameCodec.WriteHead(header, payload, bytes);
        payload.CopyTo(bytes.AsSpan(FrameCodec.HeadBytes));
        damage?.Invoke(bytes);
        SocketFrames.Send(_socket, bytes);
    }

    /// <summary>Receives frames until one of this phase comes.</summary>
    public float[] ReceiveGradient(ExchangePhase phase) => MemoryMarshal.Cast<byte, float>(Receive(phase).Payload).ToArray();

    /// <inheritdoc cref="ReceiveGradient"/>
    public (FrameHeader Header, byte[] Payload) Receive(ExchangePhase phase)
    {
        while (true)
        {
            var head = new byte[FrameCodec.HeadBytes];
            SocketFrames.Receive(_socket, head);
            var (header, crc) = FrameCodec.ReadHead(head);
            var payload = new byte[header.PayloadBytes];
            SocketFrames.Receive(_socket, payload);
            FrameCodec.CheckPayload(payload, crc);
            if (header.Phase == phase)
                return (header, payload);
        }
    }

    /// <summary>Waits for the next request for state and answers it from <paramref name="state"/>.</summary>
    public void AnswerRequest(byte[] state, Action<byte[]>? damage = null)
    {
        var (header, payload) = Receive(ExchangePhase.StateRequest);
        var (_, length) = StateRequestPayload.Read(payload, header.Offset);
        Send(Header(0, 0, ExchangePhase.StateChunk, default, header.Offset, length), state.AsSpan((int)header.Offset, length), damage);
    }

    /// <summary>Asks rank 0 for a piece of its state.</summary>
    public void Request(long stateBytes, long offset, int length)
    {
        var payload = StateRequestPayload.Write(stateBytes, length);
        Send(Header(0, 0, ExchangePhase.StateRequest, default, offset, payload.Length), payload);
    }

    /// <summary>Tells rank 0 that more of the state has come.</summary>
    public void Progress() => Send(Header(0, 0, ExchangePhase.StateProgress, default, 0, 0), []);

    /// <summary>Leaves in good order.</summary>
    public void SayGoodbye(string reason)
    {
        var payload = System.Text.Encoding.UTF8.GetBytes(reason);
        Send(Header(0, 0, ExchangePhase.Bye, default, 0, payload.Length), payload);
    }

    public FrameHeader Header(long sequence, long step, ExchangePhase phase, LaneRange node, long offset, int bytes) =>
        new(FrameHeader.RunKey(_identity.Run), _identity.Generation, sequence, step, phase, 0, node, offset, bytes);

    public void Dispose() => _socket.Dispose();
}
