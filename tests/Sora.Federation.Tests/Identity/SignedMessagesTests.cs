using Sora.Federation.Identity;

namespace Sora.Federation.Tests.Identity;

public sealed class SignedMessagesTests : IDisposable
{
    private readonly IdentityKey _site = IdentityKey.Create();
    private readonly IdentityKey _other = IdentityKey.Create();

    public void Dispose()
    {
        _site.Dispose();
        _other.Dispose();
    }

    [Fact]
    public void A_session_takes_its_messages_in_order_and_each_once()
    {
        var signer = new MessageSigner(_site, "run", "session");
        var sent = new[] { "one", "two", "three" }.Select((text, at) => (Content: System.Text.Encoding.UTF8.GetBytes(text), Signed: signer.Sign(at, "masked_update", System.Text.Encoding.UTF8.GetBytes(text)))).ToArray();
        var stream = new MessageStream("run", "session", _site.Public);

        Assert.Equal(MessageVerdict.Gap, Accept(1));
        Assert.Equal(MessageVerdict.Good, Accept(0));
        Assert.Equal(MessageVerdict.Repeated, Accept(0));
        Assert.Equal(MessageVerdict.Gap, Accept(2));
        Assert.Equal(MessageVerdict.Good, Accept(1));
        Assert.Equal(MessageVerdict.Good, Accept(2));
        Assert.Equal(MessageVerdict.Repeated, Accept(1));

        MessageVerdict Accept(int which)
        {
            (stream, var verdict) = stream.Accept(sent[which].Signed.Header, sent[which].Content, sent[which].Signed.Signature);
            return verdict;
        }
    }

    [Fact]
    public void A_message_with_anything_changed_is_refused_and_changes_nothing()
    {
        var (header, signature) = new MessageSigner(_site, "run", "session").Sign(4, "masked_update", "content"u8);
        var stream = new MessageStream("run", "session", _site.Public);

        Assert.Equal(MessageVerdict.ContentChanged, stream.Accept(header, "contenT"u8, signature).Verdict);
        Assert.Equal(MessageVerdict.BadSignature, stream.Accept(header with { Round = 5 }, "content"u8, signature).Verdict);
        Assert.Equal(MessageVerdict.BadSignature, stream.Accept(header with { Type = "update" }, "content"u8, signature).Verdict);
        Assert.Equal(MessageVerdict.BadSignature, stream.Accept(header with { Sequence = 2 }, "content"u8, signature).Verdict);
        Assert.Equal(MessageVerdict.BadSignature, stream.Accept(header, "content"u8, new byte[64]).Verdict);
        Assert.Equal(MessageVerdict.BadSignature, (stream with { Sender = _other.Public }).Accept(header, "content"u8, signature).Verdict);
        Assert.Equal(MessageVerdict.Elsewhere, (stream with { Session = "later" }).Accept(header, "content"u8, signature).Verdict);
        // What names another session is still signed for this one.
        Assert.Equal(MessageVerdict.BadSignature, (stream with { Session = "later" }).Accept(header with { Session = "later" }, "content"u8, signature).Verdict);
        Assert.Equal(MessageVerdict.Elsewhere, (stream with { Run = "other" }).Accept(header, "content"u8, signature).Verdict);

        var (next, verdict) = stream.Accept(header, "content"u8, signature);
        Assert.Equal((MessageVerdict.Good, 1), (verdict, next.Received));
        Assert.Equal(0, stream.Received);
    }
}
