using System.Collections.Immutable;
using Akka.Actor;
using Akka.Cluster;
using Akka.Cluster.Sharding;
using Akka.Persistence;
using Microsoft.Extensions.Logging;
using Sora.Coordinator.Configuration;
using Sora.Coordinator.Runs;
using Sora.Coordinator.Workers;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Federations;

/// <summary>
/// The one writer of a federated run: a shell that feeds <see cref="RoundCoordinator"/> and carries out its effects. Decisions are
/// journaled; numbers, the audit log and the privacy ledger are in files beside (<see cref="FederationStore"/>), and everything
/// that waits for them comes back as a message which says what attempt it is about.
/// </summary>
/// <remarks>Sites speak to the coordinator that this is at: whoever has it in hand after a failure sees them dial again.</remarks>
internal sealed partial class FederationEntity : ReceivePersistentActor, IWithTimers
{
    private static readonly TimeSpan RetryDelay = TimeSpan.FromSeconds(2);

    private readonly string _run;
    private readonly IActorRef _pool;
    private readonly CoordinatorIdentity _identity;
    private readonly CoordinatorOptions _options;
    private readonly ILogger _log;
    private readonly long _began;
    private readonly Dictionary<string, SiteLink> _links = new(StringComparer.Ordinal);
    private readonly HashSet<IActorRef> _watchers = [];
    private readonly FederationStory _story = new();
    private RoundCoordinatorState _state = RoundCoordinatorState.Empty;
    private FederationHome? _home;
    private FederationStore? _store;
    private bool _checking;
    private bool _takenUp;

    public FederationEntity(string run, IActorRef pool, CoordinatorIdentity identity, CoordinatorOptions options)
    {
        _run = run;
        _pool = pool;
        _identity = identity;
        _options = options;
        _log = options.LoggerFactory.CreateLogger<FederationEntity>();
        _began = options.Time.GetTimestamp();

        Recover<FederationHome>(home => _home = home);
        Recover<RoundDecision>(Remember);
        Recover<RecoveryCompleted>(_ => Recovered());

        Command<SubmitFederation>(Submit);
        Command<SubmissionChecked>(Begin);
        Command<WatchRun>(_ => Watch());
        Command<WakeRun>(_ => WakeUp());
        Command<StopRun>(Stop);
        Command<QueryRun>(_ => Answer());
        Command<AskEntrance>(_ => LetIn());
        Command<OfferSite>(Offer);
        Command<SiteSpoke>(Hear);
        Command<ReportLostSite>(lost => Unlink(lost.Site, lost.Connection, lost.Reason));
        Command<SiteAbsent>(absent => Turn(new SiteLost(absent.Site, absent.Reason)));
        Command<Terminated>(ended => Forget(ended.ActorRef));
        Command<FederationProgressed>(progressed => Turn(progressed.Happened));
        Command<UpdateAwaited>(awaited => Tell(awaited.Offer.Id.Site, new UploadFrom(_run, awaited.Offer.Id, awaited.NextChunk)));
        Command<StoreFailed>(MendLater);
        Command<TryAgain>(again => Perform(again.Effect));
        Command<Done>(_ => { });
        Command<RoundTimeout>(timeout => Turn(new RoundTimerFired(timeout.Key)));
        Command<Announcement>(_ => Announce());
        Command<LingerElapsed>(_ => Passivate());
    }

    public static Props Props(string run, IActorRef pool, CoordinatorIdentity identity, CoordinatorOptions options) =>
        Akka.Actor.Props.Create(() => new FederationEntity(run, pool, identity, options));

    public override string PersistenceId => $"{FederationRegion.PersistencePrefix}{_run}";

    public ITimerScheduler Timers { get; set; } = null!;

    private bool Live => _takenUp && _state.Phase is not (RoundPhase.Idle or RoundPhase.Ended);

    protected override void OnPersistFailure(Exception cause, object @event, long sequenceNr)
    {
        JournalFailed(cause);
        base.OnPersistFailure(cause, @event, sequenceNr);
    }

    protected override void OnPersistRejected(Exception cause, object @event, long sequenceNr)
    {
        JournalFailed(cause);
        base.OnPersistRejected(cause, @event, sequenceNr);
        Context.Stop(Self);
    }

    protected override void OnRecoveryFailure(Exception reason, object? message = null)
    {
        JournalFailed(reason);
        base.OnRecoveryFailure(reason, message);
    }

    protected override void PreRestart(Exception reason, object message)
    {
        LogBroken(_log, _run, reason);
        BreakDown($"The coordinator broke down over a message of the run: {reason.Message} This is a defect of sora; please report it with the log.");
        // The streams were given to the instance that is gone.
        foreach (var link in _links.Values)
            link.Session.Tell(CloseStream.Instance);
        base.PreRestart(reason, message);
    }

    protected override void PostStop()
    {
        _ = _store?.CloseAsync();
        base.PostStop();
    }

    private void Remember(RoundDecision decision)
    {
        _state = RoundCoordinator.Apply(_state, decision);
        _story.Add(decision, _state);
    }

    private void Recovered()
    {
        if (_home is null || _state.Run is null || _state.Phase == RoundPhase.Ended)
            return;
        LogRecovered(_log, _run, _state.Phase, _state.Model.Number);
        if (_options.RecoverRuns)
            TakeUp();
    }

    private void TakeUp()
    {
        _takenUp = true;
        _store = new FederationStore(_state.Run!, _home!.OutputDir, _identity, _options.Time);
        Turn(new FederationRecovered());
    }

    private void Submit(SubmitFederation submit)
    {
        if (_state is { Phase: RoundPhase.Ended, Outcome: { } outcome })
        {
            Sender.Tell(new RunHappened(_run, outcome));
            Passivate();
        }
        else if (_state.Run is { } known && known != submit.Federated)
        {
            Sender.Tell(new WatchRefused(_run, $"There is a federated run {_run} already, with other settings. Give the new one another id."));
        }
        else if (Live)
        {
            Watch();
        }
        else if (_state.Run is not null)
        {
            AddWatcher();
            TakeUp();
        }
        else if (AddWatcher() && !_checking)
        {
            _checking = true;
            var store = new FederationStore(submit.Federated, submit.OutputDir, _identity, _options.Time);
            store.CheckInitialAsync().PipeTo(Self, success: refusal => new SubmissionChecked(submit, store, refusal), failure: e => new SubmissionChecked(submit, store, e.Message));
        }
    }

    private void Begin(SubmissionChecked checkedOne)
    {
        _checking = false;
        var (submit, store, refusal) = checkedOne;
        if (refusal is not null)
        {
            foreach (var watcher in _watchers)
                watcher.Tell(new WatchRefused(_run, refusal));
            _watchers.Clear();
            Passivate();
            return;
        }
        (_store, _takenUp) = (store, true);
        _home = new FederationHome(submit.JobJson, submit.OutputDir);
        Turn(new FederationSubmitted(submit.Federated), _home);
    }

    private void Watch()
    {
        if (_state.Run is null)
        {
            if (_checking)
                return;
            Sender.Tell(new WatchRefused(_run, $"There is no run {_run} here. List the runs to see which there are."));
            Passivate();
            return;
        }
        if (!Live && _state.Phase != RoundPhase.Ended)
        {
            Sender.Tell(new WatchRefused(_run, $"The federated run {_run} was cut off in round {_state.Model.Number + 1} and is not going on. Submit it again."));
            Passivate();
            return;
        }
        if (!AddWatcher())
            return;
        foreach (var happened in _story.Events)
            Sender.Tell(new RunHappened(_run, happened));
        if (!Live)
            Passivate();
    }

    private bool AddWatcher()
    {
        Context.Watch(Sender);
        return _watchers.Add(Sender);
    }

    private void WakeUp()
    {
        if (Live)
            Announce();
        if (Live || _checking)
            return;
        Sender.Tell(Farewell());
        Passivate();
    }

    private CloseFederation Farewell() => _state.Outcome switch
    {
        FederationFinished => new CloseFederation(_run, IsOver: true, "the run is finished", ExitCode.Ok),
        FederationStopped stopped => new CloseFederation(_run, IsOver: true, $"the run is stopped: {stopped.Reason}", ExitCode.Resumable),
        FederationFailed failed => new CloseFederation(_run, IsOver: true, $"the run failed: {failed.Message}", failed.ExitCode),
        // It may be submitted yet, or again.
        _ => new CloseFederation(_run, IsOver: false, $"the federated run {_run} is not going on", ExitCode.Unreachable),
    };

    private void Stop(StopRun stop)
    {
        if (Live)
            Turn(new FederationStopRequested(stop.Reason));
        Answer();
    }

    private void Answer()
    {
        var outcome = _state.Outcome switch
        {
            FederationFinished => "finished",
            FederationStopped => "stopped",
            FederationFailed => "failed",
            _ => "",
        };
        Sender.Tell(new FederationStatus(_run, Live || _state.Phase == RoundPhase.Ended ? _state.Phase : RoundPhase.Idle, _state.Model.Number, _state.Model.Sha256, outcome));
        Passivate();
    }

    private void LetIn()
    {
        if (Live)
            Sender.Tell(new Entrance(_state.Run!, _home!.JobJson, _store!));
        else if (Farewell() is { IsOver: true } farewell)
            Sender.Tell(new SendHome(farewell.Reason, farewell.ExitCode));
        else
            Sender.Tell(new TurnAway($"The federated run {_run} is not going on; dial again.", ExitCode.Unreachable));
    }

    private void Offer(OfferSite offer)
    {
        var site = offer.Hello.Site;
        // It has proved who it is, so its newest stream speaks for it; an older one may be half open for long.
        if (_links.TryGetValue(site, out var older) && older.Connection != offer.Connection)
            older.Session.Tell(CloseStream.Instance);
        _links[site] = new SiteLink(offer.Connection, Sender);
        Context.Watch(Sender);
        Timers.Cancel(AbsenceOf(site));
        Turn(new SiteArrived(offer.Hello));
    }

    private void Hear(SiteSpoke spoke)
    {
        if (_links.TryGetValue(spoke.Site, out var link) && link.Connection == spoke.Connection)
            Turn(new SiteSaid(spoke.Site, spoke.Message));
    }

    private void Unlink(string site, string connection, string reason)
    {
        if (!_links.TryGetValue(site, out var link) || link.Connection != connection)
            return;
        _links.Remove(site);
        Timers.StartSingleTimer(AbsenceOf(site), new SiteAbsent(site, reason), _options.AbsenceLimit);
    }

    private void Forget(IActorRef ended)
    {
        _watchers.Remove(ended);
        if (_links.FirstOrDefault(link => link.Value.Session.Equals(ended)) is { Key: { } site } link)
            Unlink(site, link.Value.Connection, "its session ended.");
    }

    private static string AbsenceOf(string site) => $"absent/{site}";

    private void Turn(RoundEvent happened, FederationHome? home = null)
    {
        if (!_takenUp && _state.Phase != RoundPhase.Ended)
            return;
        var (next, effects) = RoundCoordinator.Decide(_state, happened with { At = _options.Time.GetElapsedTime(_began) });
        if (next.Phase != _state.Phase)
            LogPhase(_log, _run, _state.Phase, next.Phase);
        var decisions = effects.OfType<JournalRound>().Select(journal => journal.Decision).ToList();
        if (decisions.Count == 0)
        {
            Adopt(next, effects, decisions);
            return;
        }
        // Nobody may see the consequence of a decision that a crash could still undo.
        var unwritten = decisions.Count + (home is null ? 0 : 1);
        PersistAll(home is null ? decisions : decisions.Prepend<object>(home), _ =>
        {
            if (--unwritten == 0)
                Adopt(next, effects, decisions);
        });
    }

    private void Adopt(RoundCoordinatorState next, IReadOnlyList<RoundEffect> effects, IReadOnlyList<RoundDecision> decisions)
    {
        var ends = next.Phase == RoundPhase.Ended && _state.Phase != RoundPhase.Ended;
        _state = next;
        // Before anybody is told of a model it can be fetched.
        foreach (var model in next.OlderModels.Values.Append(next.Model))
            _store?.Release(model);
        foreach (var accepted in decisions.OfType<UpdateAccepted>())
            Do(_store!.AdmitAsync(next.LastKey, accepted.Update.Id.Site), null);
        foreach (var effect in effects)
            Perform(effect);
        if (ends)
        {
            foreach (var pool in Pools())
                pool.Tell(Farewell(), Self);
            Timers.CancelAll();
            Timers.StartSingleTimer(nameof(LingerElapsed), LingerElapsed.Instance, _options.EndedRunMemory);
        }
        else if (Live && !Timers.IsTimerActive(nameof(Announcement)))
        {
            Timers.StartPeriodicTimer(nameof(Announcement), Announcement.Instance, JobEntity.AnnouncementInterval);
            Announce();
        }
    }

    private void Perform(RoundEffect effect)
    {
        switch (effect)
        {
            case TellSite tell:
                Tell(tell.Site, tell.Message);
                break;
            case ShowReport show:
                _story.Add(show.Report);
                foreach (var watcher in _watchers)
                    watcher.Tell(new RunHappened(_run, show.Report));
                break;
            case ReceiveUpdate receive when _state.Round is { } round:
                Do(_store!.ExpectAsync(round.Key, round.Base, SitesOf(round), receive.Offer), null,
                    arrived => arrived switch
                    {
                        null => Done.Instance,
                        { Whole: true } => new FederationProgressed(new UpdateStored(receive.Offer)),
                        _ => new UpdateAwaited(receive.Offer, arrived.NextChunk),
                    });
                break;
            case AggregateRound aggregate when _state.Round is { } round:
                Do(_store!.AggregateAsync(aggregate, round.Cohort.Target, SitesOf(round)), aggregate, happened => new FederationProgressed(happened));
                break;
            // Of an attempt that goes on, an update that does not count is left out when it closes.
            case DiscardUpdates when _state.Round is null:
                Do(_store!.DiscardAsync(_state.LastKey), effect);
                break;
            case ReserveBudget reserve:
                Do(_store!.ReserveAsync(reserve.Round), reserve, happened => new FederationProgressed(happened));
                break;
            case SettleBudget settle:
                Do(_store!.SettleAsync(settle), settle, happened => new FederationProgressed(happened));
                break;
            case StartTimer start:
                Timers.StartSingleTimer(start.Key.Timer, new RoundTimeout(start.Key), start.After);
                break;
            case StopTimer stop:
                Timers.Cancel(stop.Timer);
                break;
        }
    }

    private void Tell(string site, ToSite message)
    {
        if (_links.TryGetValue(site, out var link))
            link.Session.Tell(new DeliverToSite(message));
    }

    /// <summary>Who may send updates for an attempt: asynchronous ones take whoever is there.</summary>
    private ImmutableSortedSet<string> SitesOf(OpenRound round)
    {
        var sites = round.Cohort.Sites.Union(round.Updates.Keys);
        return (_state.Run!.Settings.Mode == FederationMode.Asynchronous ? sites.Union(_identity.RegisteredNames) : sites).ToImmutableSortedSet(StringComparer.Ordinal);
    }

    private void Do(Task work, RoundEffect? effect) =>
        work.ContinueWith(done => done.IsFaulted ? (object)new StoreFailed(effect, done.Exception.GetBaseException()) : Done.Instance, TaskScheduler.Default).PipeTo(Self);

    private void Do<T>(Task<T> work, RoundEffect? effect, Func<T, object> then) =>
        work.PipeTo(Self, success: then, failure: e => new StoreFailed(effect, e));

    /// <summary>What must happen is tried again; of what does not, somebody will ask again.</summary>
    private void MendLater(StoreFailed failed)
    {
        if (!Live)
            return;
        LogStoreFailed(_log, _run, failed.Cause);
        if (failed.Effect is { } effect)
            Timers.StartSingleTimer(effect, new TryAgain(effect), RetryDelay);
    }

    private void Announce()
    {
        foreach (var pool in Pools())
            pool.Tell(new OpenFederation(_run), Self);
    }

    private IEnumerable<ICanTell> Pools()
    {
        var cluster = Cluster.Get(Context.System);
        return cluster.State.Members
            .Where(member => member.HasRole(AkkaConfiguration.Role) && member.Address != cluster.SelfAddress && member.Status is MemberStatus.Up or MemberStatus.WeaklyUp or MemberStatus.Leaving)
            .Select(ICanTell (member) => Context.ActorSelection(new RootActorPath(member.Address) / "user" / FederationPool.Name))
            .Prepend(_pool);
    }

    // Only a run that is going on, or was a moment ago, stays in memory; asked again, it comes back from the journal.
    private void Passivate()
    {
        if (!Live && !_checking && !Timers.IsTimerActive(nameof(LingerElapsed)))
            Context.Parent.Tell(new Passivate(PoisonPill.Instance));
    }

    private void JournalFailed(Exception cause)
    {
        LogJournalFailed(_log, _run, cause);
        BreakDown($"The coordinator cannot use its journal {_options.JournalName}: {cause.Message} Free space on that disk or make the folder writable, then run again.");
    }

    // A run that outlives its coordinator has lost nothing yet: sites dial again, and the pools bring the entity back.
    private void BreakDown(string message)
    {
        if (_options.RecoverRuns)
            return;
        foreach (var link in _links.Values)
            link.Session.Tell(new SendHome(message, ExitCode.Failure));
        foreach (var watcher in _watchers)
            watcher.Tell(new RunHappened(_run, new FederationFailed(_state.Model.Number, _state.Model.Sha256, message, ExitCode.Failure)));
    }

    [LoggerMessage(1200, LogLevel.Debug, "Federated run {Run} goes from {From} to {To}")]
    private static partial void LogPhase(ILogger logger, string run, RoundPhase from, RoundPhase to);

    [LoggerMessage(1201, LogLevel.Information, "Federated run {Run} is recovered from the journal: {Phase}, model {Model}")]
    private static partial void LogRecovered(ILogger logger, string run, RoundPhase phase, int model);

    [LoggerMessage(1202, LogLevel.Error, "Federated run {Run} cannot be journaled")]
    private static partial void LogJournalFailed(ILogger logger, string run, Exception cause);

    [LoggerMessage(1203, LogLevel.Error, "Federated run {Run} cannot use its files")]
    private static partial void LogStoreFailed(ILogger logger, string run, Exception cause);

    [LoggerMessage(1204, LogLevel.Error, "Federated run {Run} broke down over a message and begins again from its journal")]
    private static partial void LogBroken(ILogger logger, string run, Exception cause);

    private sealed record SiteLink(string Connection, IActorRef Session);

    private sealed record SubmissionChecked(SubmitFederation Submission, FederationStore Store, string? Refusal) : INoSerializationVerificationNeeded;

    private sealed record SiteAbsent(string Site, string Reason) : INoSerializationVerificationNeeded;

    private sealed record UpdateAwaited(UpdateOffer Offer, int NextChunk) : INoSerializationVerificationNeeded;

    private sealed record StoreFailed(RoundEffect? Effect, Exception Cause) : INoSerializationVerificationNeeded;

    private sealed record TryAgain(RoundEffect Effect) : INoSerializationVerificationNeeded;

    private sealed record RoundTimeout(RoundTimerKey Key) : INoSerializationVerificationNeeded, INotInfluenceReceiveTimeout;

    private sealed class Done : INoSerializationVerificationNeeded
    {
        public static readonly Done Instance = new();
    }

    private sealed class LingerElapsed : INoSerializationVerificationNeeded, INotInfluenceReceiveTimeout
    {
        public static readonly LingerElapsed Instance = new();
    }

    private sealed class Announcement : INoSerializationVerificationNeeded, INotInfluenceReceiveTimeout
    {
        public static readonly Announcement Instance = new();
    }
}
