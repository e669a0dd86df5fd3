using System.Threading.Channels;
using Akka.Actor;
using Microsoft.Extensions.Logging;
using Sora.Coordinator.Runs;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Workers;

/// <summary>The worker's stream ended.</summary>
internal sealed record StreamClosed(string Reason) : INoSerializationVerificationNeeded;

/// <summary>
/// One connected worker: stands between its gRPC stream and the run it takes part in. Completing the outbound channel
/// closes the stream.
/// </summary>
internal sealed partial class WorkerSession : ReceiveActor, IWithTimers
{
    // Several ticks make up the limit: after a pause of this very process one is due at once, before what the worker said
    // meanwhile is read.
    private const int TicksOfSilence = 3;

    private readonly IActorRef _pool;
    private readonly ChannelWriter<FromCoordinator> _outbound;
    private readonly TimeSpan _silenceLimit;
    private readonly ILogger _log;
    private string _worker = "";
    private string? _run;
    private int _silentTicks;

    public WorkerSession(IActorRef pool, ChannelWriter<FromCoordinator> outbound, TimeSpan silenceLimit, ILogger log)
    {
        _pool = pool;
        _outbound = outbound;
        _silenceLimit = silenceLimit;
        _log = log;
        Become(AwaitingHello);
    }

    public static Props Props(IActorRef pool, ChannelWriter<FromCoordinator> outbound, TimeSpan silenceLimit, ILogger log) =>
        Akka.Actor.Props.Create(() => new WorkerSession(pool, outbound, silenceLimit, log));

    public ITimerScheduler Timers { get; set; } = null!;

    protected override void PreStart() => AwaitTick();

    protected override void PostStop() => _outbound.TryComplete();

    private void AwaitingHello()
    {
        Receive<FromWorker>(message => message.BodyCase == FromWorker.BodyOneofCase.Hello, message => Greet(message.Hello));
        Receive<FromWorker>(message => Refuse($"The first message must be Hello, not {message.BodyCase}.", ExitCode.Usage));
        Receive<StreamClosed>(_ => Context.Stop(Self));
        Receive<Tick>(_ => Count(() => Refuse($"No Hello came within {_silenceLimit.TotalSeconds:0.#} s.", ExitCode.Failure)));
    }

    private void Connected()
    {
        Receive<FromWorker>(Hear);
        Receive<Enlisted>(enlisted => _run = enlisted.Run);
        Receive<DeliverToWorker>(deliver => Deliver(deliver.Message));
        Receive<Released>(released => released.Run == _run, _ => Deliver(new FromCoordinator { Goodbye = new Goodbye { Reason = "the run is over" } }));
        Receive<Released>(_ => { });
        Receive<TurnAway>(away => Refuse(away.Reason, away.ExitCode));
        Receive<StreamClosed>(closed => Lose(closed.Reason));
        Receive<Tick>(_ => Count(() => Lose($"nothing was heard from it for {_silenceLimit.TotalSeconds:0.#} s.")));
    }

    private void Greet(Hello hello)
    {
        if (hello.ProtocolVersion != WorkerProtocol.Version)
        {
            Refuse($"Worker {hello.Worker} speaks protocol version {hello.ProtocolVersion}, this coordinator {WorkerProtocol.Version}. Run the same release of sora on both.", ExitCode.Usage);
            return;
        }
        if (hello.Worker.Length == 0)
        {
            Refuse("Hello names no worker.", ExitCode.Usage);
            return;
        }
        _worker = hello.Worker;
        _silentTicks = 0;
        Become(Connected);
        _pool.Tell(new WorkerIsFree(hello));
    }

    private void Hear(FromWorker message)
    {
        _silentTicks = 0;
        if (_run is not null && message.BodyCase is not (FromWorker.BodyOneofCase.Heartbeat or FromWorker.BodyOneofCase.Hello or FromWorker.BodyOneofCase.None))
            JobRegion.Of(Context.System).Tell(new ForwardFromWorker(_run, _worker, message));
    }

    private void Deliver(FromCoordinator message)
    {
        _outbound.TryWrite(message);
        if (message.BodyCase is FromCoordinator.BodyOneofCase.Goodbye or FromCoordinator.BodyOneofCase.Refused)
            Context.Stop(Self);
    }

    private void Refuse(string reason, int exitCode)
    {
        LogRefused(_log, _worker, reason);
        Deliver(new FromCoordinator { Refused = new Refused { Reason = reason, ExitCode = (uint)exitCode } });
    }

    private void Lose(string reason)
    {
        LogLost(_log, _worker, reason);
        if (_run is not null)
            JobRegion.Of(Context.System).Tell(new ReportLostWorker(_run, _worker, reason));
        Context.Stop(Self);
    }

    private void Count(Action tooLong)
    {
        if (++_silentTicks >= TicksOfSilence)
            tooLong();
        else
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
}
