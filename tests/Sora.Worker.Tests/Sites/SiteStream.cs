using System.Security.Cryptography;
using System.Threading.Channels;
using Google.Protobuf;
using Sora.Federation.Identity;
using Sora.Federation.Rounds;
using Sora.Federation.Wire;
using Sora.Protocol.Api;

namespace Sora.Worker.Tests.Sites;

/// <summary>The coordinator's end of a site's stream.</summary>
internal sealed class SiteStream(FederationServer server)
{
    public const string Ticket = "ticket";

    private MessageSigner? _signer;
    private MessageStream? _heard;

    public Channel<FromWorker> Incoming { get; } = Channel.CreateUnbounded<FromWorker>();

    public Channel<FromCoordinator> Outgoing { get; } = Channel.CreateUnbounded<FromCoordinator>();

    /// <summary>The next message that is no sign of life; null: the stream has ended.</summary>
    public async Task<FromWorker?> NextAsync()
    {
        while (await Incoming.Reader.WaitToReadAsync(Patience.Token))
        {
            while (Incoming.Reader.TryRead(out var message))
            {
                if (message.BodyCase != FromWorker.BodyOneofCase.Heartbeat)
                    return message;
            }
        }
        return null;
    }

    /// <summary>Whether the site says anything before the stream ends.</summary>
    public async Task<bool> SpeaksAsync() => await Incoming.Reader.WaitToReadAsync(Patience.Token);

    /// <summary>Greets the site, as whoever has that key, and gives what it introduced itself with and the challenge.</summary>
    public async Task<(SiteIntroduction Introduction, Handshake Handshake)> ChallengeAsync(string run, IdentityKey? signer = null)
    {
        var introduction = (await NextAsync())!.SiteIntroduction;
        var challenge = RandomNumberGenerator.GetBytes(Challenges.Length);
        var handshake = new Handshake("join", run, introduction.Fingerprint, server.Key.Public.Fingerprint, challenge, introduction.Nonce.Memory);
        Say(new FromCoordinator
        {
            SiteChallenge = new SiteChallenge
            {
                Run = run,
                Challenge = ByteString.CopyFrom(challenge),
                CoordinatorKey = ByteString.CopyFrom(server.Key.Public.SubjectPublicKeyInfo.Span),
                Proof = ByteString.CopyFrom(Authentication.Prove(signer ?? server.Key, Role.Coordinator, handshake)),
            },
        });
        return (introduction, handshake);
    }

    /// <summary>Lets the site in, when its proof is good, and gives its first word.</summary>
    public async Task<SiteHello> LetInAsync(TestRun run, PublicKey site)
    {
        var (_, handshake) = await ChallengeAsync(run.Run.Run);
        var proof = (await NextAsync())!.SiteProof;
        Assert.True(Authentication.Verify(site, Role.Site, handshake, proof.Proof.Span), "The site's proof is not good.");
        Say(new FromCoordinator
        {
            SiteAdmission = new SiteAdmission { Run = run.Run.Run, Site = TestSite.Name, JobJson = run.JobJson, FederatedRun = ByteString.CopyFrom(FederatedRunFormat.Write(run.Run)), Ticket = Ticket },
        });
        var session = Convert.ToHexStringLower(handshake.CoordinatorNonce.Span);
        _signer = new MessageSigner(server.Key, run.Run.Run, session);
        _heard = new MessageStream(run.Run.Run, session, site);
        return await HearAsync<SiteHello>();
    }

    public void Say(FromCoordinator message) => Outgoing.Writer.TryWrite(message);

    public void Say(ToSite message) => Say(new FromCoordinator { SiteWord = Sign(message) });

    public SiteWord Sign(ToSite message)
    {
        var content = RoundMessageFormat.Write(message);
        var round = RoundMessageFormat.RoundOf(message);
        var (header, signature) = _signer!.Sign(round, "word", content);
        return new SiteWord { Sequence = (ulong)header.Sequence, Round = (uint)round, Type = "word", Content = ByteString.CopyFrom(content), Signature = ByteString.CopyFrom(signature) };
    }

    /// <summary>The next word of the site; null: the stream has ended. Every word must be signed and in order.</summary>
    public async Task<FromSite?> WordAsync()
    {
        if (await NextAsync() is not { } message)
            return null;
        var word = message.SiteWord;
        var header = new MessageHeader(_heard!.Run, _heard.Session, (int)word.Round, word.Type, (long)word.Sequence, SHA256.HashData(word.Content.Span));
        (_heard, var verdict) = _heard.Accept(header, word.Content.Span, word.Signature.Span);
        Assert.Equal(MessageVerdict.Good, verdict);
        return RoundMessageFormat.ReadFromSite(word.Content.Memory);
    }

    /// <summary>The next word of a kind; those before it are dropped.</summary>
    public async Task<T> HearAsync<T>() where T : FromSite
    {
        while (await WordAsync() is { } word)
        {
            if (word is T wanted)
                return wanted;
            if (word is RoundFailed failed)
                Assert.Fail($"The site fails: {failed.Reason}");
        }
        throw new InvalidOperationException($"The stream ended before a {typeof(T).Name}.");
    }

    /// <summary>Waits until the site has sent the whole of an update.</summary>
    public async Task StoredAsync() => await server.Stored.Reader.ReadAsync(Patience.Token);

    /// <summary>Closes the stream.</summary>
    public void Close() => Outgoing.Writer.TryComplete();
}
