using Akka.Actor;
using Sora.Coordinator.Runs;
using Sora.Coordinator.Workers;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Federations;

/// <summary>
/// Brings the sites that dialled this coordinator together with federated runs, and sees to it that a run whose coordinator is gone
/// comes up again, as <see cref="WorkerPool"/> does for the other runs. A site must speak to the coordinator that carries its run out.
/// </summary>
internal sealed class FederationPool : ReceiveActor, IWithTimers
{
    public const string Name = "federations";

    private const int SilenceBeforeWaking = 3;

    private readonly Dictionary<string, OpenedFederation> _open = new(StringComparer.Ordinal);
    private readonly Dictionary<IActorRef, string> _waiting = [];
    private bool _regionIsThere;

    public FederationPool()
    {
        Receive<TakeUpRuns>(TakeUp);
        Receive<OpenFederation>(open => Open(open.Run, Sender));
        Receive<CloseFederation>(Close);
        Receive<SeekFederation>(seek => Seek(seek.Run, Sender));
        Receive<Terminated>(ended => _waiting.Remove(ended.ActorRef));
        Receive<Tick>(_ => WakeSilent());
        Receive<Closing>(_ => Timers.CancelAll());
    }

    public ITimerScheduler Timers { get; set; } = null!;

    protected override void PreStart() => Context.System.EventStream.Subscribe(Self, typeof(Closing));

    private void TakeUp(TakeUpRuns unfinished)
    {
        foreach (var run in unfinished.Runs)
            _open.TryAdd(run, new OpenedFederation(Nobody.Instance, SilenceBeforeWaking));
        _regionIsThere = true;
        foreach (var run in _waiting.Values.Distinct().ToList())
            Wake(run);
        Timers.StartPeriodicTimer(nameof(Tick), Tick.Instance, TimeSpan.Zero, JobEntity.AnnouncementInterval);
    }

    private void Open(string run, IActorRef entity)
    {
        _open[run] = new OpenedFederation(entity, 0);
        foreach (var (session, wanted) in _waiting.Where(waiting => waiting.Value.Length == 0 || waiting.Value == run).ToList())
        {
            Forget(session);
            Seek(wanted, session);
        }
    }

    private void Close(CloseFederation close)
    {
        _open.Remove(close.Run);
        foreach (var (session, _) in _waiting.Where(waiting => close.IsOver && waiting.Value == close.Run).ToList())
        {
            Forget(session);
            session.Tell(new SendHome(close.Reason, close.ExitCode));
        }
    }

    private void Seek(string run, IActorRef session)
    {
        var known = _open.Where(open => (run.Length == 0 || open.Key == run) && !open.Value.Entity.IsNobody()).ToList();
        if (known.Exists(open => open.Value.IsHere))
        {
            var (found, opened) = known.First(open => open.Value.IsHere);
            session.Tell(new FederationIsHere(found, opened.Entity));
        }
        else if (known.Count > 0)
        {
            session.Tell(new TurnAway($"The federated run {known[0].Key} is carried out by another coordinator; dial the next one.", ExitCode.Unreachable));
        }
        else
        {
            _waiting[session] = run;
            Context.Watch(session);
            Wake(run);
        }
    }

    /// <summary>A run that a site has work of, and that nobody speaks of here, may be over.</summary>
    private void Wake(string run)
    {
        if (_regionIsThere && run.Length > 0 && !_open.ContainsKey(run))
            JobRegion.Of(Context.System, run).Tell(new WakeRun(run));
    }

    private void Forget(IActorRef session)
    {
        _waiting.Remove(session);
        Context.Unwatch(session);
    }

    private void WakeSilent()
    {
        foreach (var (run, opened) in _open.ToList())
        {
            _open[run] = opened with { Silence = opened.Silence + 1 };
            if (opened.Silence < SilenceBeforeWaking)
                continue;
            // Whoever carried it out is gone, or has moved: its sites wait until it is heard of again.
            _open[run] = new OpenedFederation(Nobody.Instance, opened.Silence);
            JobRegion.Of(Context.System, run).Tell(new WakeRun(run));
        }
    }

    private sealed record OpenedFederation(IActorRef Entity, int Silence)
    {
        public bool IsHere => Entity.Path.Address.HasLocalScope;
    }

    private sealed class Tick : INoSerializationVerificationNeeded
    {
        public static readonly Tick Instance = new();
    }
}
