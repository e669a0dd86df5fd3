using System.Threading.Channels;
using Akka.Actor;
using Microsoft.Extensions.Logging;
using Sora.Coordinator.Federations;
using Sora.Coordinator.Runs;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Workers;

/// <summary>
/// One stream of a worker: stands between it and the run the worker takes part in. Completing the outbound channel
/// closes the stream.
/// </summary>
internal sealed partial class WorkerSession : ReceiveActor, IWithTimers
{
    // Several ticks make up the limit: after a pause of this very process one is due at once, before what the worker said
    // meanwhile is read.
    private const int TicksOfSilence = 6;
    // From here on the run is told: it may know that others wait for this worker.
    private const int TicksBeforeDoubt = 3;

    private readonly string _connection = Guid.NewGuid().ToString("N");
    private readonly IActorRef _pool;
    private readonly ChannelWriter<FromCoordinator> _outbound;
    private readonly SiteDoor _door;
    private readonly bool _trusted;
    private readonly TimeSpan _silenceLimit;
    private readonly ILogger _log;
    private readonly HashSet<IActorRef> _doubters = [];
    // A worker that dials again tells right after Hello what its broken stream may have swallowed.
    private readonly Queue<FromWorker> _early = [];
    private Hello _hello = new();
    private string? _run;
    private bool _hasWork;
    private int _silentTicks;

    public WorkerSession(IActorRef pool, SiteDoor door, bool trusted, ChannelWriter<FromCoordinator> outbound, TimeSpan silenceLimit, ILogger log)
    {
        _pool = pool;
        _door = door;
        _trusted = trusted;
        _outbound = outbound;
        _silenceLimit = silenceLimit;
        _log = log;
        Become(AwaitingHello);
    }

    public static Props Props(IActorRef pool, SiteDoor door, bool trusted, ChannelWriter<FromCoordinator> outbound, TimeSpan silenceLimit, ILogger log) =>
        Akka.Actor.Props.Create(() => new WorkerSession(pool, door, trusted, outbound, silenceLimit, log));

    public ITimerScheduler Timers { get; set; } = null!;

    private IActorRef Jobs => JobRegion.Of(Context.System);

    protected override void PreStart()
    {
        Context.System.EventStream.Subscribe(Self, typeof(Closing));
        AwaitTick();
    }

    protected override void PostStop() => _outbound.TryComplete();

    private void AwaitingHello()
    {
        Receive<FromWorker>(message => message.BodyCase == FromWorker.BodyOneofCase.SiteIntroduction, GiveToSite);
        Receive<FromWorker>(_ => !_trusted, _ => TurnOut());
        Receive<FromWorker>(message => message.BodyCase == FromWorker.BodyOneofCase.Hello, message => Greet(message.Hello));
        Receive<FromWorker>(message => Refuse($"The first message must be Hello, not {message.BodyCase}.", ExitCode.Usage));
        Receive<StreamClosed>(_ => Context.Stop(Self));
        Receive<Closing>(_ => Context.Stop(Self));
        Receive<Tick>(_ => !_trusted, _ => Count(TurnOut));
        Receive<Tick>(_ => Count(() => Refuse($"No Hello came within {_silenceLimit.TotalSeconds:0.#} s.", ExitCode.Failure)));
    }

    private void Connected()
    {
        Receive<FromWorker>(Hear);
        Receive<Enlist>(enlist => TakePart(enlist.Run));
        Receive<DeliverToWorker>(deliver => Deliver(deliver.Message));
        Receive<TurnAway>(away => Refuse(away.Reason, away.ExitCode));
        Receive<CloseStream>(_ => Context.Stop(Self));
        Receive<Closing>(_ => Context.Stop(Self));
        Receive<ProveAlive>(_ => _doubters.Add(Sender));
        Receive<StreamClosed>(closed => Lose(closed.Reason));
        Receive<Pulse>(_ => Jobs.Tell(new StillLinked(_run!, _hello.Worker, _connection)));
        Receive<Tick>(_ => Count(() => Lose($"nothing was heard from it for {_silenceLimit.TotalSeconds:0.#} s.")));
    }

    /// <summary>The stream is a site's.</summary>
    private void OfSite(IActorRef session)
    {
        Receive<FromWorker>(session.Forward);
        Receive<StreamClosed>(session.Forward);
        Receive<Terminated>(_ => Context.Stop(Self));
    }

    private void GiveToSite(FromWorker introduction)
    {
        Timers.CancelAll();
        var session = Context.ActorOf(SiteSession.Props(_door, _outbound, _silenceLimit, _log));
        Context.Watch(session);
        Become(() => OfSite(session));
        session.Forward(introduction);
    }

    /// <summary>Whoever shows no token can only be a site.</summary>
    private void TurnOut()
    {
        _outbound.TryComplete(BearerTokenInterceptor.NotTrusted());
        Context.Stop(Self);
    }

    private void Greet(Hello hello)
    {
        if (hello.ProtocolVersion != WorkerProtocol.Version)
        {
            Refuse($"Worker {hello.Worker} speaks protocol version {hello.ProtocolVersion}, this coordinator {WorkerProtocol.Version}. Run the same release of sora on both.", ExitCode.Usage);
            return;
        }
        if (hello.Worker.Length == 0 || hello.Incarnation.Length == 0)
        {
            Refuse("Hello must name the worker and its incarnation.", ExitCode.Usage);
            return;
        }
        _hello = hello;
        _hasWork = hello.Standing is { Run.Length: > 0 };
        _silentTicks = 0;
        Become(Connected);
        _pool.Tell(new WorkerArrivedHere(_connection, hello));
    }

    private void TakePart(string run)
    {
        _run = run;
        Jobs.Tell(new OfferWorker(run, _connection, _hello));
        while (_early.TryDequeue(out var message))
            Forward(run, message);
        Timers.StartPeriodicTimer(nameof(Pulse), Pulse.Instance, JobEntity.AnnouncementInterval);
    }

    private void Hear(FromWorker message)
    {
        _silentTicks = 0;
        foreach (var doubter in _doubters)
            doubter.Tell(new ProvedAlive(_hello.Worker, _connection));
        _doubters.Clear();
        // A heartbeat that tells of steps, or of waiting, is a measurement; any other is only a sign of life, and has done its work.
        if (message.BodyCase is FromWorker.BodyOneofCase.Hello or FromWorker.BodyOneofCase.None || message.Heartbeat is { Steps: 0, WaitsFor.Count: 0 })
            return;
        if (_run is null)
            _early.Enqueue(message);
        else
            Forward(_run, message);
    }

    private void Forward(string run, FromWorker message) => Jobs.Tell(new ForwardFromWorker(run, _hello.Worker, _connection, message));

    private void Deliver(FromCoordinator message)
    {
        switch (message.BodyCase)
        {
            case FromCoordinator.BodyOneofCase.Goodbye when _run is not null && !_hasWork:
                // It stood by: another run may need it.
                _pool.Tell(new WorkerIsFree(_connection, _hello, _run, message.Goodbye));
                Timers.Cancel(nameof(Pulse));
                _run = null;
                return;
            case FromCoordinator.BodyOneofCase.Assignment:
                _hasWork = true;
                break;
        }
        _outbound.TryWrite(message);
        if (message.BodyCase is FromCoordinator.BodyOneofCase.Goodbye or FromCoordinator.BodyOneofCase.Refused)
            Context.Stop(Self);
    }

    private void Refuse(string reason, int exitCode)
    {
        LogRefused(_log, _hello.Worker, reason);
        Deliver(new FromCoordinator { Refused = new Refused { Reason = reason, ExitCode = (uint)exitCode } });
    }

    private void Lose(string reason)
    {
        LogLost(_log, _hello.Worker, reason);
        if (_run is not null)
            Jobs.Tell(new ReportLostWorker(_run, _hello.Worker, _connection, reason));
        Context.Stop(Self);
    }

    private void Count(Action tooLong)
    {
        if (++_silentTicks >= TicksOfSilence)
        {
            tooLong();
            return;
        }
        if (_silentTicks >= TicksBeforeDoubt && _run is not null)
            Jobs.Tell(new ReportSilentWorker(_run, _hello.Worker, _connection));
        AwaitTick();
    }

    private void AwaitTick() => Timers.StartSingleTimer(nameof(Tick), Tick.Instance, _silenceLimit / TicksOfSilence);

    [LoggerMessage(1110, LogLevel.Warning, "Worker '{Worker}' is refused: {Reason}")]
    private static partial void LogRefused(ILogger logger, string worker, string reason);

    [LoggerMessage(1111, LogLevel.Debug, "Worker {Worker} is gone: {Reason}")]
    private static partial void LogLost(ILogger logger, string worker, string reason);

    private sealed class Tick : INoSerializationVerificationNeeded, INotInfluenceReceiveTimeout
    {
        public static readonly Tick Instance = new();
    }

    private sealed class Pulse : INoSerializationVerificationNeeded, INotInfluenceReceiveTimeout
    {
        public static readonly Pulse Instance = new();
    }
}
