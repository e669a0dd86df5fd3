using System.Buffers;
using System.Security.Cryptography;
using MessagePack;

namespace Sora.Protocol.Wire;

/// <summary>The accepting end of one handshake, see <see cref="Handshake"/>.</summary>
public sealed class AcceptorHandshake(ExchangeIdentity self)
{
    private readonly byte[] _nonce = RandomNumberGenerator.GetBytes(Handshake.NonceBytes);
    private byte[] _dialerNonce = [];
    private int _dialer = -1;

    /// <summary>
    /// Whether a greeting comes from a later generation of this run, which this worker has not heard of yet: the dialer is to
    /// wait, and its greeting to be answered in that generation.
    /// </summary>
    /// <exception cref="HandshakeException">It is no greeting.</exception>
    public bool IsEarly(ReadOnlyMemory<byte> greeting)
    {
        var (run, generation, _, _, _, _) = Read(greeting);
        return run == self.Run && generation > self.Generation;
    }

    /// <summary>Checks whom a greeting comes from and whom it is for, and gives the challenge to send back.</summary>
    /// <exception cref="HandshakeException">It is for another run, generation or worker.</exception>
    public byte[] Challenge(ReadOnlyMemory<byte> greeting)
    {
        var (run, generation, workers, dialer, acceptor, nonce) = Read(greeting);
        if (run != self.Run)
            throw new HandshakeException($"This worker computes run {self.Run}, the dialer run {run}.");
        if (generation != self.Generation)
            throw new HandshakeException($"This worker is in generation {self.Generation} of run {self.Run}, the dialer in generation {generation}.");
        if (workers != self.Workers || acceptor != self.Rank)
            throw new HandshakeException($"This worker is rank {self.Rank} of {self.Workers}, the dialer looks for rank {acceptor} of {workers}.");
        if (dialer < 0 || dialer >= self.Workers || dialer == self.Rank)
            throw new HandshakeException($"There is no peer of rank {dialer} among {self.Workers} workers for rank {self.Rank}.");
        (_dialer, _dialerNonce) = (dialer, nonce);
        return [.. _nonce, .. Handshake.Prove(Handshake.Acceptor, self, dialer, self.Rank, nonce, _nonce)];
    }

    /// <summary>Checks the dialer's proof and gives its rank.</summary>
    /// <exception cref="HandshakeException">The dialer does not know the generation's secret.</exception>
    public int Accept(ReadOnlySpan<byte> proof)
    {
        if (_dialer < 0)
            throw new HandshakeException("A proof came before the greeting.");
        var expected = Handshake.Prove(Handshake.Dialer, self, _dialer, self.Rank, _dialerNonce, _nonce);
        if (!CryptographicOperations.FixedTimeEquals(expected, proof))
            throw new HandshakeException($"The dialer that calls itself rank {_dialer} does not know the secret of generation {self.Generation} of run {self.Run}.");
        return _dialer;
    }

    private static (string Run, long Generation, int Workers, int Dialer, int Acceptor, byte[] Nonce) Read(ReadOnlyMemory<byte> greeting)
    {
        if (greeting.Length > Handshake.MaxPayloadBytes)
            throw new HandshakeException($"A greeting has {greeting.Length} bytes; at most {Handshake.MaxPayloadBytes} are allowed.");
        var reader = new MessagePackReader(greeting);
        try
        {
            if (reader.ReadArrayHeader() != 6)
                throw new HandshakeException("A greeting does not have six fields.");
            var run = reader.ReadString() ?? "";
            var fields = (run, reader.ReadInt64(), reader.ReadInt32(), reader.ReadInt32(), reader.ReadInt32());
            if (reader.ReadBytes() is not { Length: Handshake.NonceBytes } nonce || !reader.End)
                throw new HandshakeException($"A greeting does not end with a nonce of {Handshake.NonceBytes} bytes.");
            return (fields.run, fields.Item2, fields.Item3, fields.Item4, fields.Item5, nonce.ToArray());
        }
        catch (Exception e) when (e is MessagePackSerializationException or EndOfStreamException or OverflowException)
        {
            throw new HandshakeException("A greeting is not what this protocol writes: " + e.Message, e);
        }
    }
}
