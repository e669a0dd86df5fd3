using System.Security.Cryptography;
using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using Sora.Federation.Audit;
using Sora.Federation.Identity;
using Sora.Federation.Policies;
using Sora.Federation.Rounds;
using Sora.Federation.Wire;
using Sora.Protocol.Api;
using Sora.Protocol.Jobs;
using Sora.Worker.Session;
using Sora.Worker.Work;

namespace Sora.Worker.Sites;

/// <summary>
/// The shell of <see cref="RoundSite"/>: one loop that takes what happens, lets the state machine decide, and does what it says. What takes
/// long runs elsewhere, local training on the training thread, and comes back into the loop, which alone touches what is below. Streams and
/// coordinators come and go; the run's journal stays.
/// </summary>
internal sealed partial class SiteSession : ILinkOwner
{
    private const int MaxTypeLength = 64;
    private static readonly TimeSpan HeartbeatInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan FarewellTime = TimeSpan.FromSeconds(5);

    private readonly string _incarnation = Guid.NewGuid().ToString("n");
    private readonly Channel<Action> _inbox = Channel.CreateUnbounded<Action>(new UnboundedChannelOptions { SingleReader = true });
    private readonly CancellationTokenSource _ended = new();
    private readonly CancellationTokenSource _unlinking = new();
    private readonly Awaitable<AdmittedConnection> _connection = new();
    private readonly List<Task> _underWay = [];
    private readonly ICoordinatorDialer _dialer;
    private readonly SiteOptions _options;
    private readonly PolicySource _policies;
    private readonly IdentityKey _key;
    private readonly AuditLog _audit;
    private readonly SiteOutlet _outlet;
    private readonly ILocalTrainingSource _source;
    private readonly TrainingThread _thread;
    private readonly Func<string, ISiteJournal> _openJournal;
    private readonly ILogger _log;
    private ICoordinatorStream? _stream;
    private SiteHandshake? _handshake;
    private PublicKey? _coordinator;
    private SignedWords? _words;
    private SiteRun? _run;
    private RoundSiteState? _state;
    private (string Reason, int Code)? _exit;
    private volatile bool _welcome;
    private bool _leaving;

    public SiteSession(
        ICoordinatorDialer dialer, SiteOptions options, PolicySource policies, IdentityKey key, AuditLog audit, ILocalTrainingSource source, TrainingThread thread, ILogger log,
        Func<string, ISiteJournal>? openJournal = null)
    {
        (_dialer, _options, _policies, _key, _audit, _source, _thread, _log) = (dialer, options, policies, key, audit, source, thread, log);
        _outlet = new SiteOutlet(policies, audit);
        _openJournal = openJournal ?? SiteJournal.Open;
    }

    /// <summary>Who has a run waits longer: what it has begun is worth it.</summary>
    TimeSpan ILinkOwner.Patience => _welcome || _state is not null ? _options.ReconnectLimit : _options.ConnectTimeout;

    /// <summary>Takes part in one run until the site's part in it is over, the site was told to leave, or there is no coordinator to be had.</summary>
    /// <returns>The process's exit code.</returns>
    public async Task<int> RunAsync()
    {
        var linking = new CoordinatorLink(_dialer, this, _options.Random, _options.Time, _log).RunAsync(_unlinking.Token, _ended.Token);
        _underWay.Add(BeatAsync());
        while (_exit is null)
        {
            var action = await _inbox.Reader.ReadAsync();
            try
            {
                action();
            }
            catch (SoraException e)
            {
                // What cannot be recorded, remembered or counted is not done.
                Exit(e.Message, e.ExitCode);
            }
        }
        var (reason, code) = _exit.Value;
        LogExit(code == ExitCode.Ok ? LogLevel.Information : LogLevel.Error, reason, code);
        await EndAsync(linking);
        return code;
    }

    /// <summary>The site's owner wants it to leave: what it has begun is finished first.</summary>
    public void Drain() => Post(() =>
    {
        _leaving = true;
        if (_state is null)
            Exit("left, as it was told to", ExitCode.Ok);
        else
            Handle(new DrainRequested());
    });

    /// <summary>Ends at once; a restarted site goes on from its journal.</summary>
    public void Abandon(string reason) => Post(() =>
    {
        WasAbandoned = _exit is null;
        Exit(reason, ExitCode.Failure);
    });

    /// <summary>Whether it was <see cref="Abandon"/> that ended it.</summary>
    public bool WasAbandoned { get; private set; }

    void ILinkOwner.Linked(ICoordinatorStream stream) => Post(() => Introduce(stream));

    void ILinkOwner.Unlinked(string reason) => Post(Unlink);

    bool ILinkOwner.Heard(FromCoordinator message)
    {
        Post(() => Hear(message));
        return _welcome;
    }

    void ILinkOwner.TurnedAway(string reason) => Post(() => Exit(reason, ExitCode.Usage));

    void ILinkOwner.GaveUp(string reason) => Post(() => Exit(reason, ExitCode.Unreachable));

    private void Post(Action action) => _inbox.Writer.TryWrite(action);

    private void Exit(string reason, int code) => _exit ??= (reason, code);

    private void Introduce(ICoordinatorStream stream)
    {
        _policies.Reload();
        _stream = stream;
        _outlet.Open(stream);
        _handshake = new SiteHandshake(_key, _run?.Name ?? SiteRun.Unfinished(_options.StateDir), Environment.MachineName, Environment.ProcessId);
        if (_outlet.Introduce(_handshake.Introduce()))
            return;
        // A slip in the policy is mended while training goes on; until then nothing leaves.
        if (_policies.Current is null)
            Distrust(_policies.Problem);
        else
            Exit($"The site's policy does not let messages of type '{SiteMessages.Join}' leave, without which it can take part in nothing.", ExitCode.Usage);
    }

    private void Unlink()
    {
        (_stream, _handshake, _coordinator, _words) = (null, null, null, null);
        _outlet.Close();
        _connection.Set(null);
        _welcome = false;
    }

    /// <summary>Nothing more is said or heard on this stream: the next one is tried.</summary>
    private void Distrust(string reason)
    {
        LogDistrust(reason);
        var stream = _stream;
        Unlink();
        stream?.Break(reason);
    }

    private void Hear(FromCoordinator message)
    {
        if (_handshake is not { } handshake)
            return;
        switch (message.BodyCase)
        {
            case FromCoordinator.BodyOneofCase.Refused: HearRefused(message.Refused); break;
            case FromCoordinator.BodyOneofCase.Goodbye: HearGoodbye(message.Goodbye); break;
            case FromCoordinator.BodyOneofCase.SiteChallenge: HearChallenge(handshake, message.SiteChallenge); break;
            case FromCoordinator.BodyOneofCase.SiteAdmission when _coordinator is not null && _words is null: HearAdmission(handshake, _coordinator, message.SiteAdmission); break;
            case FromCoordinator.BodyOneofCase.SiteWord when _words is not null: HearWord(_words, message.SiteWord); break;
            default: Distrust($"it sent a {message.BodyCase}, which has no place here"); break;
        }
    }

    private void HearRefused(Refused refused)
    {
        // Another coordinator of the list may have the run; this one closes the stream.
        if (refused.ExitCode == ExitCode.Unreachable)
            LogRefused(refused.Reason);
        else
            Exit($"The coordinator refuses this site: {refused.Reason}", Code(refused.ExitCode));
    }

    private void HearGoodbye(Goodbye goodbye)
    {
        if (_words is null)
            Exit(goodbye.Reason, Code(goodbye.ExitCode));
        else
            Do(new LeaveFederation(goodbye.Reason, Code(goodbye.ExitCode)));
    }

    private static int Code(uint code) => (int)Math.Min(code, byte.MaxValue);

    private void HearChallenge(SiteHandshake handshake, SiteChallenge challenge)
    {
        var answer = handshake.Answer(challenge, _policies.Knows);
        if (answer.Refusal is { } refusal)
        {
            var reason = _policies.Current is null ? _policies.Problem : refusal;
            _audit.Append(new PeerRefused(JobValidation.IsName(challenge.Run) ? challenge.Run : "", answer.Claimed, reason));
            Distrust(reason);
            return;
        }
        _coordinator = answer.Coordinator;
        _outlet.Prove(answer.Proof!);
    }

    private void HearAdmission(SiteHandshake handshake, PublicKey coordinator, SiteAdmission admission)
    {
        SiteAssignment assignment;
        try
        {
            assignment = SiteRun.Read(admission);
        }
        catch (SoraException e)
        {
            Distrust(e.Message);
            return;
        }
        if (assignment.Run.Run != handshake.Run)
        {
            Distrust($"it let the site into run {assignment.Run.Run} instead of {handshake.Run}");
            return;
        }
        _audit.Append(new PeerJoined(assignment.Run.Run, "coordinator", coordinator.Fingerprint));
        if (_run is null)
            TakeUp(assignment, admission);
        else
            _run.CheckTerms(admission);
        _words = new SignedWords(_key, coordinator, handshake.Run, handshake.Session);
        _outlet.Admit(_words, _run!.Job);
        _connection.Set(new AdmittedConnection(_stream!.Client, admission.Ticket));
        _welcome = true;
        var unfit = _judge!.Unfit(coordinator.Fingerprint);
        LogAdmitted(assignment.Run.Run, assignment.Site, coordinator.Fingerprint);
        if (unfit.Length > 0)
            LogUnfit(unfit);
        Handle(new CoordinatorReached(_incarnation, unfit));
    }

    private void TakeUp(SiteAssignment assignment, SiteAdmission admission)
    {
        var plan = _source.Plan(assignment, _options.Data);
        _run = SiteRun.Open(_options.StateDir, assignment, admission, _openJournal, _options.Time);
        _judge = new RoundJudge(_policies, assignment, plan, _run.Privacy, _options.Time);
        _models = new ModelCache(_run.Models, assignment.Run.Chunks.Parameters, _connection, _options.Time);
        _openTraining = () => _source.Open(assignment, plan);
        _state = _run.Restored with { Draining = _leaving };
    }

    private void HearWord(SignedWords words, SiteWord word)
    {
        if (words.Accept(word) is var verdict && verdict != MessageVerdict.Good)
        {
            Distrust($"a word is not good: {verdict}");
            return;
        }
        ToSite message;
        try
        {
            message = RoundMessageFormat.ReadToSite(word.Content.Memory);
        }
        catch (InvalidRoundMessageException e)
        {
            Distrust(e.Message);
            return;
        }
        if (word.Type.Length > MaxTypeLength || message.Run != _run!.Name)
        {
            Distrust("a word is of no proper type, or of another run");
            return;
        }
        _audit.Append(new MessageReceived(_run.Job, (int)word.Round, words.Coordinator, word.Type, word.Content.Length, Convert.ToHexStringLower(SHA256.HashData(word.Content.Span))));
        Handle(new CoordinatorSaid(message));
    }

    private void Handle(RoundSiteEvent happened)
    {
        var before = _state!.Phase;
        (_state, var effects) = RoundSite.Decide(_state, happened);
        if (_state.Phase != before)
            LogPhase(before, _state.Phase, _state.Round?.Round.ToString() ?? "");
        foreach (var effect in effects)
        {
            Do(effect);
            if (_exit is not null)
                return;
        }
        if (_leaving && _state is { Draining: true, Phase: RoundSitePhase.Idle, Ready: null } or { Draining: true, Phase: RoundSitePhase.Declined or RoundSitePhase.Delivered })
            Exit("left, as it was told to", ExitCode.Ok);
    }

    private async Task BeatAsync()
    {
        using var timer = new PeriodicTimer(HeartbeatInterval, _options.Time);
        try
        {
            while (await timer.WaitForNextTickAsync(_ended.Token))
                Post(_outlet.Beat);
        }
        catch (OperationCanceledException) when (_ended.IsCancellationRequested)
        {
            // The session is over.
        }
    }

    /// <summary>Sends what is queued and lets the coordinator close the stream, so that it need not take this end for a loss.</summary>
    private async Task EndAsync(Task linking)
    {
        using var limit = new CancellationTokenSource(FarewellTime, _options.Time);
        await _unlinking.CancelAsync();
        if (_stream is { } stream)
        {
            await stream.CompleteAsync(limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await linking.WaitAsync(limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
        await _ended.CancelAsync();
        await Task.WhenAll([.. _underWay, linking]).WaitAsync(limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _run?.Dispose();
    }

    [LoggerMessage(2050, LogLevel.Information, "{Before} -> {Now} {Round}")]
    private partial void LogPhase(RoundSitePhase before, RoundSitePhase now, string round);

    [LoggerMessage(EventId = 2051, Message = "Ends with exit code {ExitCode}: {Message}")]
    private partial void LogExit(LogLevel level, string message, int exitCode);

    [LoggerMessage(2052, LogLevel.Information, "Takes part in run {Run} as {Site}; the coordinator has the key {Coordinator}")]
    private partial void LogAdmitted(string run, string site, string coordinator);

    [LoggerMessage(2053, LogLevel.Warning, "The policy permits this job nothing: {Rules}")]
    private partial void LogUnfit(string rules);

    [LoggerMessage(2054, LogLevel.Warning, "The stream is broken off: {Reason}")]
    private partial void LogDistrust(string reason);

    [LoggerMessage(2055, LogLevel.Information, "Turned away, for now: {Reason}")]
    private partial void LogRefused(string reason);
}
