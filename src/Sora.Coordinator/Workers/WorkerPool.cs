using Akka.Actor;
using Microsoft.Extensions.Logging;
using Sora.Coordinator.Corpora;
using Sora.Coordinator.Runs;
using Sora.Protocol.Api;

namespace Sora.Coordinator.Workers;

/// <summary>A run goes on and takes workers; <paramref name="Lacking"/> of its places are free. Said again and again by its entity.</summary>
internal sealed record OpenRun(string Run, int Lacking, string CorpusHash, string CorpusDir) : ICoordinatorMessage;

/// <summary>A run is over.</summary>
internal sealed record CloseRun(string Run) : ICoordinatorMessage;

/// <summary>A session, the sender, has shaken hands with its worker.</summary>
internal sealed record WorkerArrivedHere(string Connection, Hello Hello) : INoSerializationVerificationNeeded;

/// <summary>The run <paramref name="Left"/> is over and never gave the session's worker anything to do.</summary>
internal sealed record WorkerIsFree(string Connection, Hello Hello, string Left, Goodbye Goodbye) : INoSerializationVerificationNeeded;

/// <summary>The shard region is there: see to these runs, which the journal knows as unfinished.</summary>
internal sealed record TakeUpRuns(IReadOnlyList<string> Runs) : INoSerializationVerificationNeeded;

/// <summary>
/// Brings the workers that dialled this coordinator together with runs: first with the earliest opened run that lacks
/// some; a surplus worker stands by for the oldest open run; without an open run it waits here. The pools also see to it that
/// a run whose coordinator is gone comes up again on another one.
/// </summary>
/// <remarks>
/// Akka's own memory of entities is not used: what goes on is in the journal already, and a second durable list could only
/// disagree with it. A pool wakes what the journal holds as unfinished when it starts, and whatever was open and is not
/// heard of any more while it runs.
/// </remarks>
internal sealed partial class WorkerPool : ReceiveActor, IWithTimers
{
    public const string Name = "workers";

    // Entities speak up every second.
    private const int SilenceBeforeWaking = 3;

    private readonly ILogger _log;
    private readonly CorpusDirectory _corpora;
    private readonly WorkerClaims _claims = new();
    private readonly List<WorkerClaim> _idle = [];
    private readonly List<OpenedRun> _open = [];

    public WorkerPool(CorpusDirectory corpora, ILogger log)
    {
        _corpora = corpora;
        _log = log;
        Receive<WorkerArrivedHere>(arrived => Welcome(new WorkerClaim(arrived.Connection, arrived.Hello, Sender)));
        Receive<WorkerIsFree>(free => TakeBack(free, Sender));
        Receive<TakeUpRuns>(TakeUp);
        Receive<OpenRun>(Open);
        Receive<CloseRun>(close => Close(close.Run));
        Receive<ProvedAlive>(_claims.HolderIsAlive);
        Receive<Terminated>(gone => Forget(gone.ActorRef));
        Receive<Tick>(_ => WakeSilent());
        Receive<Closing>(_ => Timers.CancelAll());
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Props(CorpusDirectory corpora, ILogger log) => Akka.Actor.Props.Create(() => new WorkerPool(corpora, log));

    protected override void PreStart() => Context.System.EventStream.Subscribe(Self, typeof(Closing));

    private void TakeUp(TakeUpRuns unfinished)
    {
        foreach (var run in unfinished.Runs)
            _open.Add(new OpenedRun(run) { Silence = SilenceBeforeWaking });
        Timers.StartPeriodicTimer(nameof(Tick), Tick.Instance, TimeSpan.Zero, JobEntity.AnnouncementInterval);
    }

    private void Welcome(WorkerClaim claim)
    {
        Context.Watch(claim.Session);
        if (!_claims.Claim(claim))
            return;
        LogConnected(_log, claim.Hello.Worker, claim.Hello.Host, claim.Hello.ProcessId);
        if (claim.Hello.Standing is { Run.Length: > 0 } standing)
            claim.Session.Tell(new Enlist(standing.Run));
        else
            Place(claim);
    }

    private void TakeBack(WorkerIsFree free, IActorRef session)
    {
        Close(free.Left);
        if (!_claims.Holds(free.Hello.Worker, free.Connection))
            return;
        if (_open.Count > 0)
            Place(new WorkerClaim(free.Connection, free.Hello, session));
        else
            session.Tell(new DeliverToWorker(new FromCoordinator { Goodbye = free.Goodbye }));
    }

    private void Place(WorkerClaim claim)
    {
        var run = _open.Find(run => run.Lacking > 0) ?? _open.FirstOrDefault();
        if (run is null)
        {
            _idle.Add(claim);
            return;
        }
        run.Lacking--;
        claim.Session.Tell(new Enlist(run.Run));
    }

    private void Open(OpenRun open)
    {
        var run = _open.Find(run => run.Run == open.Run);
        if (run is null)
            _open.Add(run = new OpenedRun(open.Run));
        (run.Lacking, run.Silence) = (open.Lacking, 0);
        _corpora.Announce(open.Run, open.CorpusHash, open.CorpusDir);
        var idle = _idle.ToList();
        _idle.Clear();
        foreach (var claim in idle)
            Place(claim);
    }

    private void Close(string run)
    {
        _open.RemoveAll(opened => opened.Run == run);
        _corpora.Withdraw(run);
    }

    private void Forget(IActorRef session)
    {
        _idle.RemoveAll(claim => claim.Session.Equals(session));
        if (_claims.Find(session) is { } claim)
            _claims.Release(claim.Hello.Worker, claim.Connection);
    }

    private void WakeSilent()
    {
        foreach (var run in _open.Where(run => run.Silence++ >= SilenceBeforeWaking))
            JobRegion.Of(Context.System, run.Run).Tell(new WakeRun(run.Run));
    }

    [LoggerMessage(1100, LogLevel.Information, "Worker {Worker} on {Host}, process {ProcessId}, is connected")]
    private static partial void LogConnected(ILogger logger, string worker, string host, uint processId);

    private sealed record OpenedRun(string Run)
    {
        public int Lacking { get; set; }

        public int Silence { get; set; }
    }

    private sealed class Tick : INoSerializationVerificationNeeded
    {
        public static readonly Tick Instance = new();
    }
}
