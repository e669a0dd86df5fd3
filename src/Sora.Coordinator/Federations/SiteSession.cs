using System.Security.Cryptography;
using System.Threading.Channels;
using Akka.Actor;
using Google.Protobuf;
using Microsoft.Extensions.Logging;
using Sora.Coordinator.Workers;
using Sora.Federation.Audit;
using Sora.Federation.Identity;
using Sora.Federation.Rounds;
using Sora.Federation.Wire;
using Sora.Protocol.Api;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Federations;

/// <summary>What a <see cref="SiteSession"/> needs besides its stream.</summary>
internal sealed record SiteDoor(IActorRef Pool, CoordinatorIdentity Identity, SiteTickets Tickets);

/// <summary>
/// One stream of a site: both prove who they are, then every word is signed and taken in its order. A word that is not good ends the stream,
/// since what follows it cannot be trusted either; a site that is well dials again.
/// </summary>
internal sealed partial class SiteSession : ReceiveActor, IWithTimers
{
    /// <summary>Version of the messages between sites and coordinators.</summary>
    public const int ProtocolVersion = 1;

    private const string Purpose = "join";
    private const string ToSiteType = "coordinator";
    // Several ticks make up the limit: after a pause of this very process one is due at once.
    private const int TicksOfSilence = 6;

    private readonly string _connection = Guid.NewGuid().ToString("N");
    private readonly SiteDoor _door;
    private readonly ChannelWriter<FromCoordinator> _outbound;
    private readonly TimeSpan _silenceLimit;
    private readonly ILogger _log;
    private SiteIntroduction _introduction = new();
    private Handshake? _handshake;
    private IActorRef _entity = ActorRefs.Nobody;
    private Entrance? _entrance;
    private string _site = "";
    private string _ticket = "";
    private MessageSigner? _signer;
    private MessageStream? _heard;
    private bool _greeted;
    private int _silentTicks;

    public SiteSession(SiteDoor door, ChannelWriter<FromCoordinator> outbound, TimeSpan silenceLimit, ILogger log)
    {
        _door = door;
        _outbound = outbound;
        _silenceLimit = silenceLimit;
        _log = log;
        Become(Unproved);
    }

    public static Props Props(SiteDoor door, ChannelWriter<FromCoordinator> outbound, TimeSpan silenceLimit, ILogger log) =>
        Akka.Actor.Props.Create(() => new SiteSession(door, outbound, silenceLimit, log));

    public ITimerScheduler Timers { get; set; } = null!;

    private string Session => Convert.ToHexStringLower(_handshake!.CoordinatorNonce.Span);

    protected override void PreStart()
    {
        Context.System.EventStream.Subscribe(Self, typeof(Closing));
        AwaitTick();
    }

    protected override void PostStop()
    {
        _door.Tickets.Revoke(_ticket);
        _outbound.TryComplete();
    }

    private void Unproved()
    {
        Receive<FromWorker>(message => message.BodyCase == FromWorker.BodyOneofCase.SiteIntroduction, message => Meet(message.SiteIntroduction));
        Receive<FromWorker>(message => message.BodyCase == FromWorker.BodyOneofCase.SiteProof, message => Judge(message.SiteProof));
        Receive<FromWorker>(message => message.BodyCase is FromWorker.BodyOneofCase.Heartbeat or FromWorker.BodyOneofCase.None, _ => _silentTicks = 0);
        Receive<FromWorker>(message => Refuse($"A site introduces itself and proves its key; it does not say {message.BodyCase} before.", ExitCode.Usage));
        Receive<Known>(known => Seek(known.Refusal));
        Receive<FederationIsHere>(AskToBeLetIn);
        Receive<Entrance>(Challenge);
        Receive<Judged>(Record);
        Receive<Recorded>(recorded => Admit(recorded.Judged));
        ReceiveAlways();
    }

    private void Admitted()
    {
        Receive<FromWorker>(message => message.BodyCase == FromWorker.BodyOneofCase.SiteWord, message => Hear(message.SiteWord));
        Receive<FromWorker>(_ => _silentTicks = 0);
        Receive<DeliverToSite>(deliver => Deliver(deliver.Message));
        Receive<CloseStream>(_ => Context.Stop(Self));
        ReceiveAlways();
    }

    private void ReceiveAlways()
    {
        Receive<SendHome>(home => Bid(home.Reason, home.ExitCode));
        Receive<TurnAway>(away => Refuse(away.Reason, away.ExitCode));
        Receive<StreamClosed>(closed => Lose(closed.Reason));
        Receive<Closing>(_ => Context.Stop(Self));
        Receive<Tick>(_ => Count());
        Receive<Terminated>(_ => Context.Stop(Self)); // whoever carries the run out has moved, or begins again
        Receive<Status.Failure>(failure => Refuse($"The coordinator cannot let anybody in now: {failure.Cause.Message}", ExitCode.Unreachable));
    }

    private void Meet(SiteIntroduction introduction)
    {
        _silentTicks = 0;
        if (_introduction.Fingerprint.Length > 0)
            Refuse("The site has introduced itself already.", ExitCode.Usage);
        else if (introduction.ProtocolVersion != ProtocolVersion)
            Refuse($"The site speaks protocol version {introduction.ProtocolVersion}, this coordinator {ProtocolVersion}. Run the same release of sora on both.", ExitCode.Usage);
        else if (!Fingerprint.IsFingerprint(introduction.Fingerprint) || introduction.Nonce.Length != Authentication.NonceLength)
            Refuse("The site's introduction is malformed.", ExitCode.Usage);
        else
        {
            _introduction = introduction;
            // An unknown key is told so at once; whether a known one is really the site's the proof shows.
            Task.Run(() => new Known(_door.Identity.ReadAdmissions().Judge(introduction.Fingerprint, _door.Identity.Now).Refusal)).PipeTo(Self);
        }
    }

    private void Seek(string? refusal)
    {
        if (refusal is not null)
            Refuse($"The site is not let in: {refusal}. Its operator compares fingerprints with that of the coordinator; 'sora site register' lets it in.", ExitCode.Usage);
        else
            _door.Pool.Tell(new SeekFederation(_introduction.Run));
    }

    private void AskToBeLetIn(FederationIsHere here)
    {
        _entity = here.Entity;
        Context.Watch(_entity);
        _entity.Tell(AskEntrance.Instance);
    }

    private void Challenge(Entrance entrance)
    {
        _entrance = entrance;
        var (identity, run) = (_door.Identity, entrance.Federated.Run);
        _handshake = new Handshake(Purpose, run, _introduction.Fingerprint, identity.Key.Public.Fingerprint, identity.Challenge(), _introduction.Nonce.Memory);
        Send(new FromCoordinator
        {
            SiteChallenge = new SiteChallenge
            {
                Run = run,
                Challenge = ByteString.CopyFrom(_handshake.CoordinatorNonce.Span),
                CoordinatorKey = ByteString.CopyFrom(identity.Key.Public.SubjectPublicKeyInfo.Span),
                Proof = ByteString.CopyFrom(Authentication.Prove(identity.Key, Role.Coordinator, _handshake)),
            },
        });
    }

    private void Judge(SiteProof proof)
    {
        _silentTicks = 0;
        if (_handshake is not { } handshake || _site.Length > 0)
        {
            Refuse("The site proves something that nobody asked for.", ExitCode.Usage);
            return;
        }
        var identity = _door.Identity;
        Task.Run(() =>
        {
            var admissions = identity.ReadAdmissions();
            var result = Authentication.Judge(admissions, identity.Challenges, handshake, proof.Proof.Span, identity.Now);
            // Of a site that is admitted and has its key only the challenge can have been too old: it may try again.
            var mayReturn = admissions.Judge(handshake.Site, identity.Now).Entry is { } entry
                && Authentication.Verify(PublicKey.Import(Convert.FromBase64String(entry.PublicKey)), Role.Site, handshake, proof.Proof.Span);
            return new Judged(result, mayReturn);
        }).PipeTo(Self);
    }

    /// <summary>Nobody is let in, or turned away from a run, that is not in its audit log.</summary>
    private void Record(Judged judged)
    {
        var result = judged.Result;
        AuditEvent happened = result.Site is { } site
            ? new PeerJoined(_handshake!.Run, site.Name, site.Fingerprint)
            : new PeerRefused(_handshake!.Run, _introduction.Fingerprint, result.Refusal!);
        RecordedAsync(_entrance!.Store, happened, judged).PipeTo(Self);
    }

    private static async Task<Recorded> RecordedAsync(FederationStore store, AuditEvent happened, Judged judged)
    {
        await store.RecordAsync(happened);
        return new Recorded(judged);
    }

    private void Admit(Judged judged)
    {
        if (judged.Result.Site is not { } site)
        {
            Refuse($"The site is not let in: {judged.Result.Refusal}.", judged.MayReturn ? ExitCode.Unreachable : ExitCode.Usage);
            return;
        }
        var run = _handshake!.Run;
        _site = site.Name;
        _signer = new MessageSigner(_door.Identity.Key, run, Session);
        _heard = new MessageStream(run, Session, PublicKey.Import(Convert.FromBase64String(site.PublicKey)));
        _ticket = _door.Tickets.Issue(new SiteTicket(run, site.Name, _entrance!.Store, _entity));
        LogAdmitted(_log, _site, _introduction.Host, _introduction.ProcessId, run);
        Become(Admitted);
        Send(new FromCoordinator
        {
            SiteAdmission = new SiteAdmission
            {
                Run = run,
                Site = site.Name,
                JobJson = _entrance.JobJson,
                FederatedRun = UnsafeByteOperations.UnsafeWrap(FederatedRunFormat.Write(_entrance.Federated)),
                Ticket = _ticket,
            },
        });
    }

    private void Hear(SiteWord word)
    {
        _silentTicks = 0;
        if (word.Sequence > long.MaxValue || word.Round > int.MaxValue)
        {
            Distrust(MessageVerdict.BadSignature.ToString());
            return;
        }
        var header = new MessageHeader(_handshake!.Run, Session, (int)word.Round, word.Type, (long)word.Sequence, SHA256.HashData(word.Content.Span));
        (_heard, var verdict) = _heard!.Accept(header, word.Content.Span, word.Signature.Span);
        if (verdict != MessageVerdict.Good)
        {
            Distrust(verdict.ToString());
            return;
        }
        try
        {
            Forward(RoundMessageFormat.ReadFromSite(word.Content.Memory), word.Type);
        }
        catch (InvalidRoundMessageException malformed)
        {
            Distrust(malformed.Message);
        }
    }

    private void Forward(FromSite message, string type)
    {
        if (message.Run != _handshake!.Run || RoundMessageFormat.TypeOf(message) != type)
        {
            Distrust($"it is signed as '{type}' of run {_handshake.Run} and is neither");
        }
        else if (message is SiteHello hello)
        {
            if (hello.Site != _site)
            {
                Distrust($"it calls itself {hello.Site}");
                return;
            }
            _greeted = true;
            _entity.Tell(new OfferSite(_connection, hello));
        }
        else if (_greeted)
        {
            _entity.Tell(new SiteSpoke(_site, _connection, message));
        }
        else
        {
            Distrust("its first word is not a greeting");
        }
    }

    private void Deliver(ToSite message)
    {
        var content = RoundMessageFormat.Write(message);
        var round = RoundMessageFormat.RoundOf(message);
        var (header, signature) = _signer!.Sign(round, ToSiteType, content);
        Send(new FromCoordinator
        {
            SiteWord = new SiteWord
            {
                Sequence = (ulong)header.Sequence,
                Round = (uint)round,
                Type = ToSiteType,
                Content = UnsafeByteOperations.UnsafeWrap(content),
                Signature = UnsafeByteOperations.UnsafeWrap(signature),
            },
        });
        if (message is Dismissed dismissed)
            Bid(dismissed.Reason, dismissed.ExitCode);
    }

    private void Bid(string reason, int exitCode)
    {
        Send(new FromCoordinator { Goodbye = new Goodbye { Reason = reason, ExitCode = (uint)exitCode } });
        Lose($"it was sent home: {reason}");
    }

    private void Refuse(string reason, int exitCode)
    {
        LogRefused(_log, _introduction.Fingerprint, reason);
        Send(new FromCoordinator { Refused = new Refused { Reason = reason, ExitCode = (uint)exitCode } });
        Context.Stop(Self);
    }

    private void Distrust(string what)
    {
        LogDistrusted(_log, _site, what);
        Lose($"its stream was closed, as a word on it was not good: {what}.");
    }

    private void Lose(string reason)
    {
        if (_greeted)
            _entity.Tell(new ReportLostSite(_site, _connection, reason));
        Context.Stop(Self);
    }

    private void Send(FromCoordinator message) => _outbound.TryWrite(message);

    private void Count()
    {
        if (++_silentTicks >= TicksOfSilence)
            Lose($"nothing was heard from it for {_silenceLimit.TotalSeconds:0.#} s.");
        else
            AwaitTick();
    }

    private void AwaitTick() => Timers.StartSingleTimer(nameof(Tick), Tick.Instance, _silenceLimit / TicksOfSilence);

    [LoggerMessage(1210, LogLevel.Information, "Site {Site} on {Host}, process {ProcessId}, is let in to run {Run}")]
    private static partial void LogAdmitted(ILogger logger, string site, string host, uint processId, string run);

    [LoggerMessage(1211, LogLevel.Warning, "A site with key {Fingerprint} is refused: {Reason}")]
    private static partial void LogRefused(ILogger logger, string fingerprint, string reason);

    [LoggerMessage(1212, LogLevel.Warning, "The stream of site {Site} is closed, as a word on it was not good: {What}")]
    private static partial void LogDistrusted(ILogger logger, string site, string what);

    private sealed record Known(string? Refusal) : INoSerializationVerificationNeeded;

    private sealed record Judged(AuthenticationResult Result, bool MayReturn) : INoSerializationVerificationNeeded;

    private sealed record Recorded(Judged Judged) : INoSerializationVerificationNeeded;

    private sealed class Tick : INoSerializationVerificationNeeded, INotInfluenceReceiveTimeout
    {
        public static readonly Tick Instance = new();
    }
}
