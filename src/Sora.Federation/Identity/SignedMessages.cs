using System.Security.Cryptography;

namespace Sora.Federation.Identity;

/// <summary>What is signed of a message beside its content.</summary>
/// <param name="Run">The run.</param>
/// <param name="Session">What names the session and nothing else ever: the challenge it began with, in hexadecimal.</param>
/// <param name="Round">The round; 0 outside one.</param>
/// <param name="Type">The type of the message.</param>
/// <param name="Sequence">1 for a session's first message, then one more each.</param>
/// <param name="ContentHash">SHA-256 of the content.</param>
public sealed record MessageHeader(string Run, string Session, int Round, string Type, long Sequence, ReadOnlyMemory<byte> ContentHash);

/// <summary>What became of a message.</summary>
public enum MessageVerdict
{
    /// <summary>It is the next one.</summary>
    Good,
    /// <summary>It belongs to another run or session.</summary>
    Elsewhere,
    /// <summary>It came before.</summary>
    Repeated,
    /// <summary>One before it is missing.</summary>
    Gap,
    /// <summary>The content is not the one that was signed.</summary>
    ContentChanged,
    /// <summary>The signature is not the sender's.</summary>
    BadSignature,
}

/// <summary>Signs the messages of a session, in order.</summary>
public sealed class MessageSigner(IdentityKey key, string run, string session)
{
    private long _sequence;

    /// <summary>Signs the next message.</summary>
    public (MessageHeader Header, byte[] Signature) Sign(int round, string type, ReadOnlySpan<byte> content)
    {
        var header = new MessageHeader(run, session, round, type, checked(++_sequence), SHA256.HashData(content));
        return (header, key.Sign(MessageStream.TranscriptOf(header)));
    }
}

/// <summary>The receiving end of a session: takes exactly the next message and no other. Immutable; a message that is not good changes nothing.</summary>
/// <param name="Run">The run.</param>
/// <param name="Session">The session.</param>
/// <param name="Sender">The sender's key.</param>
/// <param name="Received">Sequence number of the last good message; 0 before the first.</param>
public sealed record MessageStream(string Run, string Session, PublicKey Sender, long Received = 0)
{
    /// <summary>Judges a message.</summary>
    /// <returns>The stream after it, and what became of it.</returns>
    public (MessageStream Next, MessageVerdict Verdict) Accept(MessageHeader header, ReadOnlySpan<byte> content, ReadOnlySpan<byte> signature)
    {
        var verdict = Judge(header, content, signature);
        return (verdict == MessageVerdict.Good ? this with { Received = header.Sequence } : this, verdict);
    }

    private MessageVerdict Judge(MessageHeader header, ReadOnlySpan<byte> content, ReadOnlySpan<byte> signature)
    {
        if (header.Run != Run || header.Session != Session) return MessageVerdict.Elsewhere;
        if (!Sender.Verify(TranscriptOf(header), signature)) return MessageVerdict.BadSignature;
        if (!CryptographicOperations.FixedTimeEquals(SHA256.HashData(content), header.ContentHash.Span)) return MessageVerdict.ContentChanged;
        return header.Sequence <= Received ? MessageVerdict.Repeated : header.Sequence > Received + 1 ? MessageVerdict.Gap : MessageVerdict.Good;
    }

    internal static byte[] TranscriptOf(MessageHeader header) => new Transcript("message")
        .Add(header.Run).Add(header.Session).Add(header.Round).Add(header.Type).Add(header.Sequence).Add(header.ContentHash.Span).ToArray();
}
