using System.Buffers;
using System.Security.Cryptography;
using MessagePack;

namespace Sora.Protocol.Wire;

/// <summary>The dialling end of one handshake, see <see cref="Handshake"/>.</summary>
public sealed class DialerHandshake(ExchangeIdentity self, int acceptor)
{
    private readonly byte[] _nonce = RandomNumberGenerator.GetBytes(Handshake.NonceBytes);

    /// <summary>The first payload to send.</summary>
    public byte[] Greeting()
    {
        var buffer = new ArrayBufferWriter<byte>(128);
        var writer = new MessagePackWriter(buffer);
        writer.WriteArrayHeader(6);
        writer.Write(self.Run);
        writer.Write(self.Generation);
        writer.Write(self.Workers);
        writer.Write(self.Rank);
        writer.Write(acceptor);
        writer.Write(_nonce);
        writer.Flush();
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>Checks the acceptor's challenge and answers it.</summary>
    /// <exception cref="HandshakeException">The acceptor does not know the generation's secret.</exception>
    public byte[] Answer(ReadOnlySpan<byte> challenge)
    {
        if (challenge.Length != Handshake.NonceBytes + Handshake.ProofBytes)
            throw new HandshakeException($"A challenge has {challenge.Length} bytes instead of {Handshake.NonceBytes + Handshake.ProofBytes}.");
        var acceptorNonce = challenge[..Handshake.NonceBytes];
        var expected = Handshake.Prove(Handshake.Acceptor, self, self.Rank, acceptor, _nonce, acceptorNonce);
        if (!CryptographicOperations.FixedTimeEquals(expected, challenge[Handshake.NonceBytes..]))
            throw new HandshakeException(
                $"Rank {acceptor} does not know the secret that rank {self.Rank} has of generation {self.Generation} of run {self.Run}: it belongs to another coordinator, or is not a worker of this run.");
        return Handshake.Prove(Handshake.Dialer, self, self.Rank, acceptor, _nonce, acceptorNonce);
    }
}
