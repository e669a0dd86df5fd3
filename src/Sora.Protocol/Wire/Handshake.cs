using System.Buffers;
using System.Security.Cryptography;
using MessagePack;

namespace Sora.Protocol.Wire;

/// <summary>An exchange connection was not authenticated; the message is fit to be sent to the other end.</summary>
public sealed class HandshakeException : Exception
{
    /// <summary>Creates the exception.</summary>
    public HandshakeException(string message, Exception? inner = null) : base(message, inner) { }
}

/// <summary>
/// Mutual challenge and response over a generation's secret (HMAC-SHA256):
/// <code>
/// dialer                                    acceptor
///   greeting: who, whom, nonce d  ────────►   same run, generation, ranks?
///   knows it the secret?          ◄────────   challenge: nonce a, HMAC("acceptor", ..., d, a)
///   proof: HMAC("dialer", ..., d, a) ─────►   knows it the secret?
///                                 ◄────────   welcome
/// </code>
/// The role is part of what is signed, so neither proof can be reflected as the other; run, generation, worker count and
/// both ranks are, so a proof is worth nothing elsewhere; both nonces are, so it is worth nothing later.
/// Bytes in, bytes out: sockets are the caller's business.
/// </summary>
public static class Handshake
{
    /// <summary>Longest handshake payload an end takes in.</summary>
    public const int MaxPayloadBytes = 4096;

    internal const int NonceBytes = 32;
    internal const int ProofBytes = HMACSHA256.HashSizeInBytes;

    internal const string Acceptor = "acceptor";
    internal const string Dialer = "dialer";

    internal static byte[] Prove(string role, ExchangeIdentity identity, int dialer, int acceptor, ReadOnlySpan<byte> dialerNonce, ReadOnlySpan<byte> acceptorNonce)
    {
        // MessagePack delimits the fields: no two different sets of values give the same bytes.
        var buffer = new ArrayBufferWriter<byte>(256);
        var writer = new MessagePackWriter(buffer);
        writer.Write("sora exchange");
        writer.Write(FrameCodec.ProtocolVersion);
        writer.Write(role);
        writer.Write(identity.Run);
        writer.Write(identity.Generation);
        writer.Write(identity.Workers);
        writer.Write(dialer);
        writer.Write(acceptor);
        writer.Write(dialerNonce);
        writer.Write(acceptorNonce);
        writer.Flush();
        return HMACSHA256.HashData(identity.Secret.Span, buffer.WrittenSpan);
    }
}
