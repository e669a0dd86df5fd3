using System.Net.Sockets;
using Sora.Protocol.Wire;

namespace Sora.Worker.Exchange;

/// <summary>
/// Blocking sends and receives of whole buffers. The sockets must never see an asynchronous call: the runtime would make
/// them non-blocking for good and every later wait would take a detour over its event loop.
/// </summary>
internal static class SocketFrames
{
    public static void Send(Socket socket, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
            bytes = bytes[socket.Send(bytes)..];
    }

    /// <exception cref="EndOfStreamException">The peer closed before the end.</exception>
    public static void Receive(Socket socket, Span<byte> bytes)
    {
        if (!bytes.IsEmpty && !TryReceive(socket, bytes))
            throw new EndOfStreamException("the connection ended in the middle of a frame");
    }

    /// <returns>False when the peer closed before the first byte.</returns>
    /// <exception cref="EndOfStreamException">The peer closed after the first byte and before the end.</exception>
    public static bool TryReceive(Socket socket, Span<byte> bytes)
    {
        for (var received = 0; received < bytes.Length;)
        {
            var count = socket.Receive(bytes[received..]);
            if (count == 0)
                return received == 0 ? false : throw new EndOfStreamException("the connection ended in the middle of a frame");
            received += count;
        }
        return true;
    }

    /// <summary>Sends one handshake message.</summary>
    public static void SendHandshake(Socket socket, ExchangeIdentity self, ExchangePhase phase, ReadOnlySpan<byte> payload)
    {
        Span<byte> head = stackalloc byte[FrameCodec.HeadBytes];
        var header = new FrameHeader(FrameHeader.RunKey(self.Run), self.Generation, 0, 0, phase, 0, default, 0, payload.Length);
        FrameCodec.WriteHead(header, payload, head);
        Send(socket, head);
        Send(socket, payload);
    }

    /// <summary>Receives one handshake message.</summary>
    /// <exception cref="InvalidFrameException">What came is not a handshake message.</exception>
    public static (ExchangePhase Phase, byte[] Payload) ReceiveHandshake(Socket socket)
    {
        var head = new byte[FrameCodec.HeadBytes];
        Receive(socket, head);
        var (header, crc) = FrameCodec.ReadHead(head);
        if (header.Phase < ExchangePhase.Greeting || header.PayloadBytes > Handshake.MaxPayloadBytes)
            throw new InvalidFrameException($"A frame of type {header.Phase} with {header.PayloadBytes} bytes came during the handshake.");
        var payload = new byte[header.PayloadBytes];
        Receive(socket, payload);
        FrameCodec.CheckPayload(payload, crc);
        return (header.Phase, payload);
    }
}
