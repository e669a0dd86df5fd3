using System.Security.Cryptography;
using Google.Protobuf;
using Sora.Federation.Identity;
using Sora.Protocol.Api;

namespace Sora.Worker.Sites;

/// <summary>The words of one stream: signs those that leave, and takes exactly the next one that comes.</summary>
internal sealed class SignedWords(IdentityKey own, PublicKey coordinator, string run, string session)
{
    private readonly MessageSigner _signer = new(own, run, session);
    private MessageStream _heard = new(run, session, coordinator);

    public string Coordinator => coordinator.Fingerprint;

    public SiteWord Sign(int round, string type, byte[] content)
    {
        var (header, signature) = _signer.Sign(round, type, content);
        return new SiteWord
        {
            Sequence = (ulong)header.Sequence,
            Round = (uint)round,
            Type = type,
            Content = UnsafeByteOperations.UnsafeWrap(content),
            Signature = UnsafeByteOperations.UnsafeWrap(signature),
        };
    }

    /// <summary>Judges a word. Any verdict but good ends the stream: what comes after it cannot be trusted either.</summary>
    public MessageVerdict Accept(SiteWord word)
    {
        if (word.Sequence > long.MaxValue || word.Round > int.MaxValue)
            return MessageVerdict.BadSignature;
        var header = new MessageHeader(run, session, (int)word.Round, word.Type, (long)word.Sequence, SHA256.HashData(word.Content.Span));
        (_heard, var verdict) = _heard.Accept(header, word.Content.Span, word.Signature.Span);
        return verdict;
    }
}
