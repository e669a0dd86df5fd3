using System.Security.Cryptography;
using Akka.Actor;
using Akka.Cluster;
using Akka.Cluster.Sharding;
using Akka.Persistence;
using Google.Protobuf;
using Microsoft.Extensions.Logging;
using Sora.Coordinator.Configuration;
using Sora.Coordinator.Workers;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Runs;

/// <summary>
/// The one writer of a run: a shell that feeds <see cref="CoordinatorProtocol"/> and carries out its effects. Only the rare
/// decisions are journaled; workers and their progress are learned anew after a restart: they dial again.
/// </summary>
/// <remarks>
/// A stream belongs to the entity that its Hello was given to. An entity that comes up elsewhere has the streams closed that
/// speak to it without a Hello, so the one before it, should it only have been paused, commands nobody any more.
/// </remarks>
internal sealed partial class JobEntity : ReceivePersistentActor, IWithTimers
{
    /// <summary>How often those who could have lost sight of each other say that they are there.</summary>
    public static readonly TimeSpan AnnouncementInterval = TimeSpan.FromSeconds(1);

    // A session that ends tells why first, by a longer way than Akka's own notice takes.
    private static readonly TimeSpan ReasonGrace = TimeSpan.FromSeconds(1);

    private readonly string _run;
    private readonly IActorRef _pool;
    private readonly CoordinatorOptions _options;
    private readonly ILogger _log;
    private readonly WorkerClaims _claims = new();
    private readonly HashSet<IActorRef> _watchers = [];
    private readonly RunStory _story = new();
    private CoordinatorState _state = CoordinatorState.Empty;

    public JobEntity(string run, IActorRef pool, CoordinatorOptions options)
    {
        _run = run;
        _pool = pool;
        _options = options;
        _log = options.LoggerFactory.CreateLogger<JobEntity>();

        Recover<RunDecision>(Remember);
        Recover<RecoveryCompleted>(_ => Recovered());

        Command<SubmitRun>(Submit);
        Command<WatchRun>(_ => Watch());
        Command<WakeRun>(_ => WakeUp());
        Command<OfferWorker>(Offer);
        Command<StillLinked>(linked => HearFrom(linked.Worker, linked.Connection, null));
        Command<ForwardFromWorker>(forward => HearFrom(forward.Worker, forward.Connection, forward.Message));
        Command<ReportLostWorker>(Lose);
        Command<ReportSilentWorker>(Doubt);
        Command<ProvedAlive>(_claims.HolderIsAlive);
        Command<Terminated>(ended => Forget(ended.ActorRef));
        Command<StopRun>(Stop);
        Command<SecretDrawn>(Turn);
        Command<TimerElapsed>(elapsed => Turn(new TimerFired(elapsed.Timer, elapsed.After)));
        Command<Announcement>(_ => Announce());
        Command<QueryRun>(_ => Answer());
        Command<LingerElapsed>(_ => Passivate());
    }

    public static Props Props(string run, IActorRef pool, CoordinatorOptions options) => Akka.Actor.Props.Create(() => new JobEntity(run, pool, options));

    public override string PersistenceId => $"job-{_run}";

    public ITimerScheduler Timers { get; set; } = null!;

    private bool Live => _state.Phase is not (RunPhase.Idle or RunPhase.Ended);

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
        BreakDown($"The coordinator broke down over a message of the run: {reason.Message} This is a defect of sora; please report it with the log.");
        base.PreRestart(reason, message);
    }

    private void Remember(RunDecision decision)
    {
        _state = CoordinatorProtocol.Apply(_state, decision);
        _story.Add(decision);
    }

    private void Recovered()
    {
        if (_state.Spec is null)
            return;
        LogRecovered(_log, _run, _state.Phase, _state.LastGeneration);
        if (_state.Phase != RunPhase.Recovering)
            return;
        if (_options.RecoverRuns)
            Turn(new RunRecovered());
        else
            _state = _state with { Phase = RunPhase.Idle };
    }

    private void Submit(SubmitRun submit)
    {
        if (_state is { Phase: RunPhase.Ended, Outcome: RunFinished finished })
        {
            Sender.Tell(new RunHappened(_run, finished));
            Passivate();
        }
        else if (!Live)
        {
            Timers.Cancel(nameof(LingerElapsed));
            AddWatcher();
            Turn(new RunSubmitted(submit.Spec));
        }
        else if (_state.Spec == submit.Spec)
        {
            Watch();
        }
        else
        {
            Sender.Tell(new WatchRefused(_run, $"Run {_run} is going on already, with other settings. Wait for it or give the new one another id."));
        }
    }

    private void Watch()
    {
        if (_state.Phase == RunPhase.Idle)
        {
            Sender.Tell(new WatchRefused(_run, $"There is no run {_run} here. List the runs to see which there are."));
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
            return;
        _pool.Tell(new CloseRun(_run));
        Sender.Tell(new CloseRun(_run));
        Passivate();
    }

    private void Stop(StopRun stop)
    {
        Turn(new StopRequested(stop.Reason));
        Answer();
    }

    private void Answer()
    {
        Sender.Tell(new RunStatus(_run, _state.Phase, _state.LastGeneration, _state.Checkpoint?.Step, _state.Checkpoint?.Path));
        if (!Live)
            Passivate();
    }

    private void Offer(OfferWorker offer)
    {
        if (!Live)
        {
            SendHome();
            return;
        }
        Context.Watch(Sender);
        if (_claims.Claim(new WorkerClaim(offer.Connection, offer.Hello, Sender)))
            Turn(new WorkerArrived(offer.Hello));
    }

    private void HearFrom(string worker, string connection, FromWorker? message)
    {
        if (!Live)
            SendHome();
        else if (_claims.Holds(worker, connection))
        {
            if (message is not null)
                Turn(new WorkerSaid(worker, message));
        }
        // What a contender says it says again when it dials again.
        else if (!_claims.Contends(worker, connection))
            Sender.Tell(CloseStream.Instance);
    }

    private void Lose(ReportLostWorker lost)
    {
        if (_claims.Release(lost.Worker, lost.Connection) || !Live)
            Turn(new WorkerLost(lost.Worker, lost.Reason));
    }

    private void Doubt(ReportSilentWorker silent)
    {
        if (Live && _claims.Holds(silent.Worker, silent.Connection))
            Turn(new WorkerSilent(silent.Worker));
    }

    private void Forget(IActorRef ended)
    {
        _watchers.Remove(ended);
        if (_claims.Find(ended) is { } claim)
            Timers.StartSingleTimer(claim.Connection, new ReportLostWorker(_run, claim.Hello.Worker, claim.Connection, "its session ended."), ReasonGrace);
    }

    /// <summary>For a worker of a run that is not computed here, or not any more.</summary>
    private void SendHome()
    {
        Sender.Tell(new DeliverToWorker(CoordinatorProtocol.Farewell(_run, _state.Outcome)));
        Passivate();
    }

    private void Turn(CoordinatorEvent happened)
    {
        // A late word has brought the entity back.
        if (!Live && happened is not RunSubmitted)
        {
            Passivate();
            return;
        }
        var (next, effects) = CoordinatorProtocol.Decide(_state, happened);
        if (next.Phase != _state.Phase)
            LogPhase(_log, _run, _state.Phase, next.Phase);

        var decisions = effects.OfType<RecordDecision>().Select(record => record.Decision).ToList();
        if (decisions.Count == 0)
        {
            Adopt(next, effects);
            return;
        }
        // Nobody may see the consequence of a decision that a crash could still undo.
        var unwritten = decisions.Count;
        PersistAll(decisions, _ =>
        {
            if (--unwritten == 0)
                Adopt(next, effects);
        });
    }

    private void Adopt(CoordinatorState next, IReadOnlyList<CoordinatorEffect> effects)
    {
        _state = next;
        foreach (var effect in effects)
            Perform(effect);
        if (!Live)
        {
            foreach (var pool in Pools())
                pool.Tell(new CloseRun(_run), Self);
            _claims.Clear();
            Timers.CancelAll();
            Timers.StartSingleTimer(nameof(LingerElapsed), LingerElapsed.Instance, _options.EndedRunMemory);
        }
        else if (!Timers.IsTimerActive(nameof(Announcement)))
        {
            Timers.StartPeriodicTimer(nameof(Announcement), Announcement.Instance, AnnouncementInterval);
            Announce();
        }
    }

    private void Perform(CoordinatorEffect effect)
    {
        switch (effect)
        {
            case TellWorker tell when _claims.TryFind(tell.Worker, out var claim):
                claim.Session.Tell(new DeliverToWorker(tell.Message));
                break;
            case DropWorker drop when _claims.TryFind(drop.Worker, out var claim):
                claim.Session.Tell(CloseStream.Instance);
                _claims.Release(drop.Worker, claim.Connection);
                break;
            case Publish publish:
                _story.Add(publish.Event);
                foreach (var watcher in _watchers)
                    watcher.Tell(new RunHappened(_run, publish.Event));
                break;
            case DrawSecret draw:
                Self.Tell(new SecretDrawn(draw.Generation, ByteString.CopyFrom(RandomNumberGenerator.GetBytes(32))));
                break;
            case SetTimer set:
                var after = _options.Timeout(set.Timer);
                Timers.StartSingleTimer(set.Timer, new TimerElapsed(set.Timer, after), after);
                break;
            case CancelTimer cancel:
                Timers.Cancel(cancel.Timer);
                break;
        }
    }

    private void Announce()
    {
        var spec = _state.Spec!;
        var lacking = Math.Min(spec.Workers, spec.Lanes) - _state.Workers.Values.Count(worker => !worker.Draining);
        foreach (var pool in Pools())
            pool.Tell(new OpenRun(_run, lacking, spec.CorpusHash, spec.CorpusDir), Self);
    }

    private IEnumerable<ICanTell> Pools()
    {
        var cluster = Cluster.Get(Context.System);
        return cluster.State.Members
            .Where(member => member.HasRole(AkkaConfiguration.Role) && member.Address != cluster.SelfAddress && member.Status is MemberStatus.Up or MemberStatus.WeaklyUp or MemberStatus.Leaving)
            .Select(ICanTell (member) => Context.ActorSelection(new RootActorPath(member.Address) / "user" / WorkerPool.Name))
            .Prepend(_pool);
    }

    // Only a run that is going on, or was a moment ago, stays in memory; asked again, it comes back from the journal.
    private void Passivate()
    {
        if (!Live && !Timers.IsTimerActive(nameof(LingerElapsed)))
            Context.Parent.Tell(new Passivate(PoisonPill.Instance));
    }

    private void JournalFailed(Exception cause)
    {
        LogJournalFailed(_log, _run, cause);
        BreakDown($"The coordinator cannot use its journal {_options.JournalName}: {cause.Message} Free space on that disk or make the folder writable, then run again.");
    }

    // A run that outlives its coordinator has lost nothing yet: its workers go on, and bring the entity back. Otherwise this is
    // the end, which cannot be recorded without a journal: the run stays resumable.
    private void BreakDown(string message)
    {
        if (_options.RecoverRuns)
            return;
        var goodbye = new FromCoordinator { Goodbye = new Goodbye { Reason = message, ExitCode = ExitCode.Failure } };
        foreach (var worker in _state.Workers.Keys.Concat(_state.Standby.Select(standby => standby.Id)))
        {
            if (_claims.TryFind(worker, out var claim))
                claim.Session.Tell(new DeliverToWorker(goodbye));
        }
        foreach (var watcher in _watchers)
            watcher.Tell(new RunHappened(_run, new RunFailed(_state.LastStep, message, null, _state.Checkpoint?.Path, ExitCode.Failure)));
    }

    [LoggerMessage(1000, LogLevel.Debug, "Run {Run} goes from {From} to {To}")]
    private static partial void LogPhase(ILogger logger, string run, RunPhase from, RunPhase to);

    [LoggerMessage(1001, LogLevel.Information, "Run {Run} is recovered from the journal: {Phase}, generation {Generation}")]
    private static partial void LogRecovered(ILogger logger, string run, RunPhase phase, long generation);

    [LoggerMessage(1002, LogLevel.Error, "Run {Run} cannot be journaled")]
    private static partial void LogJournalFailed(ILogger logger, string run, Exception cause);

    private sealed class LingerElapsed : INoSerializationVerificationNeeded, INotInfluenceReceiveTimeout
    {
        public static readonly LingerElapsed Instance = new();
    }

    private sealed class Announcement : INoSerializationVerificationNeeded, INotInfluenceReceiveTimeout
    {
        public static readonly Announcement Instance = new();
    }
}
