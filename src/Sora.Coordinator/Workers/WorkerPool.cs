using Akka.Actor;
using Microsoft.Extensions.Logging;
using Sora.Coordinator.Runs;
using Sora.Protocol.Api;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Workers;

/// <summary>A run wants workers.</summary>
internal sealed record OpenRun(string Run, int Workers) : INoSerializationVerificationNeeded;

/// <summary>A run wants no more workers.</summary>
internal sealed record CloseRun(string Run) : INoSerializationVerificationNeeded;

/// <summary>A session, the sender, has shaken hands with its worker.</summary>
internal sealed record WorkerIsFree(Hello Hello) : INoSerializationVerificationNeeded;

/// <summary>For a session: its worker takes part in a run.</summary>
internal sealed record Enlisted(string Run) : INoSerializationVerificationNeeded;

/// <summary>For a session: the run its worker took part in is over.</summary>
internal sealed record Released(string Run) : INoSerializationVerificationNeeded;

/// <summary>For a session: turn the worker away.</summary>
internal sealed record TurnAway(string Reason, int ExitCode) : INoSerializationVerificationNeeded;

/// <summary>
/// Brings the workers that dialled this coordinator together with runs: first with the earliest opened run that lacks
/// some; a surplus worker stands by for the oldest open run; without an open run it waits here.
/// </summary>
internal sealed partial class WorkerPool : ReceiveActor
{
    private readonly ILogger _log;
    private readonly Dictionary<string, IActorRef> _connected = new(StringComparer.Ordinal);
    private readonly List<(Hello Hello, IActorRef Session)> _idle = [];
    private readonly List<OpenedRun> _open = [];

    public WorkerPool(ILogger log)
    {
        _log = log;
        Receive<WorkerIsFree>(free => Welcome(free.Hello, Sender));
        Receive<OpenRun>(Open);
        Receive<CloseRun>(Close);
        Receive<Terminated>(gone => Forget(gone.ActorRef));
    }

    public static Props Props(ILogger log) => Akka.Actor.Props.Create(() => new WorkerPool(log));

    private void Welcome(Hello hello, IActorRef session)
    {
        if (!_connected.TryAdd(hello.Worker, session))
        {
            session.Tell(new TurnAway($"A worker called '{hello.Worker}' is connected already. Give each worker process its own id.", ExitCode.Usage));
            return;
        }
        Context.Watch(session);
        LogConnected(_log, hello.Worker, hello.Host, hello.ProcessId);
        if (_open.Count == 0)
            _idle.Add((hello, session));
        else
            Offer(hello, session);
    }

    private void Open(OpenRun open)
    {
        if (_open.Any(run => run.Run == open.Run))
            return;
        _open.Add(new OpenedRun(open.Run, open.Workers));
        foreach (var (hello, session) in _idle)
            Offer(hello, session);
        _idle.Clear();
    }

    // Most workers have been dismissed by the run; this reaches those it never came to know, should it break down.
    private void Close(CloseRun close)
    {
        _open.RemoveAll(run => run.Run == close.Run);
        foreach (var session in _connected.Values)
            session.Tell(new Released(close.Run));
    }

    private void Offer(Hello hello, IActorRef session)
    {
        var run = _open.Find(run => run.Offered < run.Wanted) ?? _open[0];
        run.Offered++;
        // In this order: the session must know the run before anything it could forward can happen.
        session.Tell(new Enlisted(run.Run));
        JobRegion.Of(Context.System).Tell(new OfferWorker(run.Run, hello), session);
    }

    private void Forget(IActorRef session)
    {
        foreach (var (worker, _) in _connected.Where(entry => entry.Value.Equals(session)).ToList())
            _connected.Remove(worker);
        _idle.RemoveAll(entry => entry.Session.Equals(session));
    }

    [LoggerMessage(1100, LogLevel.Information, "Worker {Worker} on {Host}, process {ProcessId}, is connected")]
    private static partial void LogConnected(ILogger logger, string worker, string host, uint processId);

    private sealed record OpenedRun(string Run, int Wanted)
    {
        public int Offered { get; set; }
    }
}
