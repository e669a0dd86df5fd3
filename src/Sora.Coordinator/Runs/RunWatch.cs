using System.Threading.Channels;
using Akka.Actor;
using Sora.Coordinator.Federations;
using Sora.Coordinator.Workers;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Runs;

/// <summary>For a <see cref="RunWatch"/>: have the run stopped.</summary>
internal sealed record StopWatchedRun(string Reason) : INoSerializationVerificationNeeded;

/// <summary>
/// Watches a run for somebody here, wherever its entity is. It asks again and again, so that neither a lost message nor an
/// entity that moves leaves anybody waiting. Completing the channel with an error says why there is nothing to watch.
/// </summary>
internal sealed class RunWatch : ReceiveActor, IWithTimers
{
    private readonly string _run;
    private readonly IJobMessage? _submission;
    private readonly ChannelWriter<RunEvent> _events;
    private readonly Func<RunEvent, bool> _isNews;
    private bool _answered;
    private string? _stop;

    public RunWatch(string run, IJobMessage? submission, long from, ChannelWriter<RunEvent> events)
    {
        _run = run;
        _submission = submission;
        _events = events;
        _isNews = FederationRegion.Owns(run) ? new RoundNews(from).IsNews : new RunNews(from).IsNews;
        Receive<Pulse>(_ => Ask());
        Receive<Closing>(_ => Context.Stop(Self));
        Receive<RunHappened>(happened => Hear(happened.Event));
        Receive<WatchRefused>(refused =>
        {
            _events.TryComplete(new SoraException(refused.Reason, ExitCode.Usage));
            Context.Stop(Self);
        });
        Receive<FederationStatus>(_ => { });
        Receive<RunStatus>(_ => { }); // The answer to a stop says no more than the events do.
        Receive<StopWatchedRun>(stop =>
        {
            _stop ??= stop.Reason;
            Ask();
        });
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props Submitting(IJobMessage submission, ChannelWriter<RunEvent> events) => Props.Create(() => new RunWatch(submission.Run, submission, -1, events));

    public static Props Watching(string run, long from, ChannelWriter<RunEvent> events) => Props.Create(() => new RunWatch(run, null, from, events));

    protected override void PreStart()
    {
        Context.System.EventStream.Subscribe(Self, typeof(Closing));
        Timers.StartPeriodicTimer(nameof(Pulse), Pulse.Instance, TimeSpan.Zero, JobEntity.AnnouncementInterval);
    }

    protected override void PostStop() => _events.TryComplete();

    private void Ask()
    {
        var jobs = JobRegion.Of(Context.System, _run);
        jobs.Tell(_submission is not null && !_answered ? _submission : new WatchRun(_run));
        // Asked until the events say that it has: the question itself may be lost.
        if (_stop is not null && _answered)
            jobs.Tell(new StopRun(_run, _stop));
    }

    private void Hear(RunEvent happened)
    {
        _answered = true;
        if (_isNews(happened))
            _events.TryWrite(happened);
        if (RunWatching.Ends(happened))
            Context.Stop(Self);
    }

    private sealed class Pulse : INoSerializationVerificationNeeded
    {
        public static readonly Pulse Instance = new();
    }
}
