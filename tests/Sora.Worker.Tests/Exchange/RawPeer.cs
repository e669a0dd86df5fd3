using System.Net.Sockets;
using System.Runtime.InteropServices;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Wire;
using Sora.Worker.Exchange;

namespace Sora.Worker.Tests.Exchange;

/// <summary>Rank 1 of two, which knows the secret but sends what a test tells it to.</summary>
internal sealed class RawPeer : IDisposable
{
    private readonly Socket _socket;
    private readonly ExchangeIdentity _identity;

    private RawPeer(Socket socket, ExchangeIdentity identity) => (_socket, _identity) = (socket, identity);

    /// <summary>Rank 0 as it is, and a raw rank 1 connected to it.</summary>
    public static async Task<(MeshExchange Exchange, RawPeer Peer)> ConnectAsync(Mesh mesh, long parameters)
    {
        var exchange = mesh.ConnectAsync(0, parameters);
        var peer = await Task.Run(() =>
        {
            var address = ExchangeEndpoint.Parse(mesh.Members[0].Endpoints[0]);
            var socket = ExchangeEndpoint.NewSocket(address);
            socket.Connect(address);
            var identity = mesh.Group(1).Identity;
            var handshake = new DialerHandshake(identity, acceptor: 0);
            SocketFrames.SendHandshake(socket, identity, ExchangePhase.Greeting, handshake.Greeting());
            SocketFrames.SendHandshake(socket, identity, ExchangePhase.Proof, handshake.Answer(SocketFrames.ReceiveHandshake(socket).Payload));
            Assert.Equal(ExchangePhase.Welcome, SocketFrames.ReceiveHandshake(socket).Phase);
            return new RawPeer(socket, identity);
        });
        return (await exchange, peer);
    }

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
    public float[] ReceiveGradient(ExchangePhase phase)
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
                return MemoryMarshal.Cast<byte, float>(payload).ToArray();
        }
    }

    public FrameHeader Header(long sequence, long step, ExchangePhase phase, LaneRange node, long offset, int bytes) =>
        new(FrameHeader.RunKey(_identity.Run), _identity.Generation, sequence, step, phase, 0, node, offset, bytes);

    public void Dispose() => _socket.Dispose();
}
