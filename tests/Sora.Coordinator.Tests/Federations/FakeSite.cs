using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Sora.Federation.Aggregation.Updates;
using Sora.Federation.Identity;
using Sora.Federation.Rounds;
using Sora.Federation.Wire;
using Sora.Protocol.Api;

namespace Sora.Coordinator.Tests.Federations;

/// <summary>One stream of a site with a real key: proves itself, signs its words, and does what a test tells it to.</summary>
internal sealed class FakeSite : IAsyncDisposable
{
    private readonly GrpcChannel _channel;
    private readonly WorkerGateway.WorkerGatewayClient _client;
    private readonly AsyncDuplexStreamingCall<FromWorker, FromCoordinator> _call;
    private readonly SemaphoreSlim _writing = new(1, 1);
    private readonly CancellationTokenSource _end = new();
    private readonly IdentityKey _key;
    private readonly byte[] _nonce = RandomNumberGenerator.GetBytes(Authentication.NonceLength);
    private MessageSigner _signer = null!;
    private MessageStream _heard = null!;

    private FakeSite(string address, IdentityKey key)
    {
        _key = key;
        _channel = GrpcChannel.ForAddress(address);
        _client = new WorkerGateway.WorkerGatewayClient(_channel);
        _call = _client.Session(cancellationToken: _end.Token);
    }

    public SiteAdmission Admission { get; private set; } = new();

    public string Site => Admission.Site;

    public string Run => Admission.Run;

    /// <summary>Dials and introduces itself; shows no token.</summary>
    public static async Task<FakeSite> DialAsync(string address, IdentityKey key, string run = "", uint version = 1)
    {
        var site = new FakeSite(address, key);
        await site.SayAsync(new FromWorker
        {
            SiteIntroduction = new SiteIntroduction { ProtocolVersion = version, Fingerprint = key.Public.Fingerprint, Nonce = ByteString.CopyFrom(site._nonce), Run = run, Host = "box", ProcessId = 7 },
        });
        _ = site.BeatAsync();
        return site;
    }

    /// <summary>Checks the coordinator's proof and gives its own.</summary>
    public async Task<SiteChallenge> ProveAsync(IdentityKey? with = null)
    {
        var challenge = (await HearAsync()).SiteChallenge;
        Assert.True(challenge is not null, "no challenge came");
        var coordinator = PublicKey.Import(challenge.CoordinatorKey.Span);
        var handshake = new Handshake("join", challenge.Run, _key.Public.Fingerprint, coordinator.Fingerprint, challenge.Challenge.Memory, _nonce);
        Assert.True(Authentication.Verify(coordinator, Role.Coordinator, handshake, challenge.Proof.Span));
        var session = Convert.ToHexStringLower(challenge.Challenge.Span);
        (_signer, _heard) = (new MessageSigner(_key, challenge.Run, session), new MessageStream(challenge.Run, session, coordinator));
        await SayAsync(new FromWorker { SiteProof = new SiteProof { Proof = ByteString.CopyFrom(Authentication.Prove(with ?? _key, Role.Site, handshake)) } });
        return challenge;
    }

    /// <summary>Is let in, and greets.</summary>
    public async Task JoinAsync(RoundKey? workingOn = null)
    {
        await ProveAsync();
        Admission = (await HearAsync()).SiteAdmission;
        Assert.NotNull(Admission);
        await SayAsync(new SiteHello(Run, Site, "first-process", "", workingOn, Draining: false));
    }

    public SiteWord Sign(FromSite message) => SignBytes(RoundMessageFormat.TypeOf(message), RoundMessageFormat.Write(message), RoundMessageFormat.RoundOf(message));

    public SiteWord SignBytes(string type, byte[] content, int round = 0)
    {
        var (header, signature) = _signer.Sign(round, type, content);
        return new SiteWord { Sequence = (ulong)header.Sequence, Round = (uint)round, Type = type, Content = ByteString.CopyFrom(content), Signature = ByteString.CopyFrom(signature) };
    }

    public Task SayAsync(FromSite message) => SayAsync(new FromWorker { SiteWord = Sign(message) });

    public async Task SayAsync(FromWorker message)
    {
        await _writing.WaitAsync(_end.Token);
        try
        {
            await _call.RequestStream.WriteAsync(message, _end.Token);
        }
        finally
        {
            _writing.Release();
        }
    }

    public async Task<FromCoordinator> HearAsync()
    {
        using var patience = TestCoordinator.Patience();
        Assert.True(await _call.ResponseStream.MoveNext(patience.Token), "the stream ended");
        return _call.ResponseStream.Current;
    }

    /// <summary>The next word; every one is signed by the coordinator, in its order.</summary>
    public async Task<ToSite> HearWordAsync()
    {
        var word = (await HearAsync()).SiteWord;
        Assert.NotNull(word);
        return Read(word);
    }

    /// <summary>The next word of a kind; what comes before it is let go.</summary>
    public async Task<T> HearAsync<T>() where T : ToSite
    {
        while (true)
        {
            if (await HearWordAsync() is T said)
                return said;
        }
    }

    /// <summary>The next word; null when the stream is over.</summary>
    public async Task<ToSite?> TryHearWordAsync()
    {
        try
        {
            while (await _call.ResponseStream.MoveNext(_end.Token))
            {
                if (_call.ResponseStream.Current.SiteWord is { } word)
                    return Read(word);
            }
            return null;
        }
        catch (RpcException)
        {
            return null;
        }
    }

    public async Task<bool> StreamEndsAsync()
    {
        using var patience = TestCoordinator.Patience();
        try
        {
            while (await _call.ResponseStream.MoveNext(patience.Token))
            {
                // What was still on its way.
            }
            return true;
        }
        catch (RpcException)
        {
            return !patience.IsCancellationRequested;
        }
    }

    public async Task<float[]> FetchAsync(ModelVersion model)
    {
        using var call = _client.GetModel(new ModelRequest { Ticket = Admission.Ticket, Number = (uint)model.Number, Sha256 = model.Sha256 }, cancellationToken: _end.Token);
        using var bytes = new MemoryStream();
        await foreach (var chunk in call.ResponseStream.ReadAllAsync(_end.Token))
            chunk.Content.WriteTo(bytes);
        Assert.Equal(model.Sha256, Convert.ToHexStringLower(SHA256.HashData(bytes.ToArray())));
        return MemoryMarshal.Cast<byte, float>(bytes.ToArray()).ToArray();
    }

    /// <summary>Sends chunks of an update; all from one on unless told otherwise.</summary>
    public async Task<UpdateReceipt> SendAsync(EncodedUpdate update, int from = 0, int? count = null, Func<int, byte[]>? content = null)
    {
        using var call = _client.SendUpdate(cancellationToken: _end.Token);
        try
        {
            await call.RequestStream.WriteAsync(new UpdateChunk { Ticket = Admission.Ticket, Manifest = ByteString.CopyFrom(update.Manifest.Write()) }, _end.Token);
            foreach (var chunk in Enumerable.Range(from, count ?? update.Manifest.Chunks - from))
                await call.RequestStream.WriteAsync(new UpdateChunk { Chunk = (uint)chunk, Content = ByteString.CopyFrom((content ?? update.ReadChunk)(chunk)) }, _end.Token);
            await call.RequestStream.CompleteAsync();
        }
        catch (Exception early) when (early is RpcException or InvalidOperationException)
        {
            // It was answered before all of it was sent: the answer tells why.
        }
        return await call.ResponseAsync;
    }

    /// <summary>The process dies: the connection breaks without a word.</summary>
    public void Die()
    {
        _end.Cancel();
        _call.Dispose();
        _channel.Dispose();
    }

    public ValueTask DisposeAsync()
    {
        Die();
        return ValueTask.CompletedTask;
    }

    private ToSite Read(SiteWord word)
    {
        var header = new MessageHeader(Run, _heard.Session, (int)word.Round, word.Type, (long)word.Sequence, SHA256.HashData(word.Content.Span));
        (_heard, var verdict) = _heard.Accept(header, word.Content.Span, word.Signature.Span);
        Assert.Equal(MessageVerdict.Good, verdict);
        return RoundMessageFormat.ReadToSite(word.Content.Memory);
    }

    private async Task BeatAsync()
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(200));
        try
        {
            while (await timer.WaitForNextTickAsync(_end.Token))
                await SayAsync(new FromWorker { Heartbeat = new Heartbeat() });
        }
        catch (Exception gone) when (gone is OperationCanceledException or RpcException or InvalidOperationException or ObjectDisposedException)
        {
            // So is the site.
        }
    }
}
