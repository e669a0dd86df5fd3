using System.Security.Cryptography;
using Akka.Actor;
using Akka.Cluster.Sharding;
using Akka.Persistence;
using Google.Protobuf;
using Microsoft.Extensions.Logging;
using Sora.Coordinator.Workers;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Runs;

/// <summary>
/// The one writer of a run: a shell that feeds <see cref="CoordinatorProtocol"/> and carries out its effects. Only the rare
/// decisions are journaled; workers and their progress are learned anew after a restart.
/// </summary>
internal sealed partial class JobEntity : ReceivePersistentActor, IWithTimers
{
    // A session that ends tells why first, by a longer way than Akka's own notice takes.
    private static readonly TimeSpan ReasonGrace = TimeSpan.FromSeconds(1);

    private readonly string _run;
    private readonly IActorRef _pool;
    private readonly RunDirectory _directory;
    private readonly CoordinatorOptions _options;
    private readonly ILogger _log;
    private readonly Dictionary<string, IActorRef> _sessions = new(StringComparer.Ordinal);
    private CoordinatorState _state = CoordinatorState.Empty;

    public JobEntity(string run, IActorRef pool, RunDirectory directory, CoordinatorOptions options)
    {
        _run = run;
        _pool = pool;
        _directory = directory;
        _options = options;
        _log = options.LoggerFactory.CreateLogger<JobEntity>();

        Recover<RunDecision>(decision => _state = CoordinatorProtocol.Apply(_state, decision));
        Recover<RecoveryCompleted>(_ => Recovered());

        Command<SubmitRun>(Submit);
        Command<OfferWorker>(offer => Offer(offer, Sender));
        Command<ForwardFromWorker>(forward => Turn(new WorkerSaid(forward.Worker, forward.Message)));
        Command<ReportLostWorker>(lost => Turn(new WorkerLost(lost.Worker, lost.Reason)));
        Command<Terminated>(SessionEnded);
        Command<StopRun>(stop => Turn(new StopRequested(stop.Reason)));
        Command<SecretDrawn>(Turn);
        Command<TimerElapsed>(elapsed => Turn(new TimerFired(elapsed.Timer, elapsed.After)));
        Command<QueryRun>(_ => Answer());
    }

    public static Props Props(string run, IActorRef pool, RunDirectory directory, CoordinatorOptions options) =>
        Akka.Actor.Props.Create(() => new JobEntity(run, pool, directory, options));

    public override string PersistenceId => $"job-{_run}";

    public ITimerScheduler Timers { get; set; } = null!;

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
        EndAbruptly($"The coordinator broke down over a message of the run: {reason.Message} This is a defect of sora; please report it with the log.");
        base.PreRestart(reason, message);
    }

    protected override void PostStop()
    {
        _pool.Tell(new CloseRun(_run));
        base.PostStop();
    }

    private void Recovered()
    {
        if (_state.Spec is not null)
            LogRecovered(_log, _run, _state.Phase, _state.LastGeneration);
    }

    private void Submit(SubmitRun submit)
    {
        if (_state is { Phase: RunPhase.Ended, Outcome: RunFinished finished })
        {
            _directory.Publish(_run, finished);
            Passivate();
            return;
        }
        Turn(new RunSubmitted(submit.Spec));
        _pool.Tell(new OpenRun(_run, submit.Spec.Workers));
    }

    private void Answer()
    {
        Sender.Tell(new RunStatus(_run, _state.Phase, _state.LastGeneration, _state.Checkpoint?.Step, _state.Checkpoint?.Path));
        if (_state.Phase is RunPhase.Idle or RunPhase.Ended)
            Passivate();
    }

    private void Offer(OfferWorker offer, IActorRef session)
    {
        _sessions[offer.Hello.Worker] = session;
        Context.Watch(session);
        Timers.Cancel(offer.Hello.Worker);
        Turn(new WorkerArrived(offer.Hello));
    }

    private void SessionEnded(Terminated ended)
    {
        foreach (var worker in _sessions.Where(entry => entry.Value.Equals(ended.ActorRef)).Select(entry => entry.Key))
            Timers.StartSingleTimer(worker, new ReportLostWorker(_run, worker, "its session ended."), ReasonGrace);
    }

    private void Turn(CoordinatorEvent happened)
    {
        // A late word of a worker has brought the entity back.
        if (_state.Phase == RunPhase.Ended && happened is not RunSubmitted)
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
        if (effects.OfType<RecordDecision>().Any(record => record.Decision is RunEnded))
        {
            _pool.Tell(new CloseRun(_run));
            Passivate();
        }
    }

    private void Perform(CoordinatorEffect effect)
    {
        switch (effect)
        {
            case TellWorker tell when _sessions.TryGetValue(tell.Worker, out var session):
                session.Tell(new DeliverToWorker(tell.Message));
                break;
            case Publish publish:
                _directory.Publish(_run, publish.Event);
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

    // Only a run that is going on stays in memory; asked again, it comes back from the journal.
    private void Passivate() => Context.Parent.Tell(new Passivate(PoisonPill.Instance));

    private void JournalFailed(Exception cause)
    {
        LogJournalFailed(_log, _run, cause);
        EndAbruptly($"The coordinator cannot use its journal {_options.JournalPath}: {cause.Message} Free space on that disk or make the folder writable, then run again.");
    }

    // Without a journal the end cannot be recorded: the run stays resumable.
    private void EndAbruptly(string message)
    {
        foreach (var session in _sessions.Values)
            session.Tell(new DeliverToWorker(new FromCoordinator { Goodbye = new Goodbye { Reason = message } }));
        _directory.Publish(_run, new RunFailed(_state.LastStep, message, null, _state.Checkpoint?.Path, ExitCode.Failure));
    }

    [LoggerMessage(1000, LogLevel.Debug, "Run {Run} goes from {From} to {To}")]
    private static partial void LogPhase(ILogger logger, string run, RunPhase from, RunPhase to);

    [LoggerMessage(1001, LogLevel.Information, "Run {Run} is recovered from the journal: {Phase}, generation {Generation}")]
    private static partial void LogRecovered(ILogger logger, string run, RunPhase phase, long generation);

    [LoggerMessage(1002, LogLevel.Error, "Run {Run} cannot be journaled")]
    private static partial void LogJournalFailed(ILogger logger, string run, Exception cause);
}
