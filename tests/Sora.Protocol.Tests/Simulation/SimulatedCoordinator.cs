using Google.Protobuf;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;

namespace Sora.Protocol.Tests.Simulation;

/// <summary>
/// A coordinator process: the real state machine in a shell. What the shell promises: decisions are in the journal before any other
/// effect of their turn, and a coordinator whose append is refused does nothing more; a stream becomes the worker's with
/// its Hello, and what an older stream of that worker still delivers, its end included, is dropped; when another process takes a
/// name, the one before is told goodbye.
/// </summary>
internal sealed class SimulatedCoordinator(Simulation world, string name) : SimulatedProcess(world, name)
{
    private const long Silence = 10_000;
    private readonly SortedDictionary<string, Session> _sessions = new(StringComparer.Ordinal);
    private readonly Dictionary<RunTimer, (bool Set, int Number)> _timers = [];
    private int _timersSet;
    private int _sequence;

    public CoordinatorState State { get; private set; } = CoordinatorState.Empty;

    /// <summary>It believes that the run is its own. Another one may believe so too, for a while.</summary>
    public bool Active { get; private set; }

    /// <summary>Distinguishes what was told to people from one life to the next.</summary>
    public int Life { get; private set; }

    public bool Accepts => Alive && Active && !Paused;

    /// <summary>Workers whose streams are theirs now.</summary>
    public IEnumerable<SimulatedWorker> Linked => _sessions.Values.Where(session => session.Stream.Open).Select(session => session.Process);

    public void Activate()
    {
        State = World.Cluster.Journal.Aggregate(CoordinatorState.Empty, World.Rules.Apply);
        (_sequence, Life, Active) = (World.Cluster.Journal.Count, World.Cluster.NextLife(), true);
        World.Note($"{this} takes the run up: {State.Phase}, generation {State.LastGeneration}");
        Happen(new RunRecovered());
        After(Silence / 3, ListenForSilence);
    }

    public void Deactivate(string reason)
    {
        if (!Active)
            return;
        World.Note($"{this} does not own the run any more: {reason}");
        Forget();
        CloseConnections("this coordinator does not own the run");
    }

    public override void Kill(string reason)
    {
        Forget();
        base.Kill(reason);
    }

    public void Restart()
    {
        World.Note($"{this} is started again");
        Revive();
    }

    public void Accept(Connection.End stream)
    {
        var session = new Session(stream, (SimulatedWorker)stream.Other.Process) { LastHeard = World.Now };
        stream.Received = message => Hear(session, FromWorker.Parser.ParseFrom((byte[])message));
        stream.Closed = reason => Lose(session, reason);
    }

    public void Happen(CoordinatorEvent happened)
    {
        if (!Active)
            return;
        var before = State;
        var (state, effects) = World.Rules.Coordinator(State, happened);
        if (!Journal(effects))
            return;
        State = state;
        if (World.Tracing && (State.Phase != before.Phase || State.Workers != before.Workers))
            World.Note($"{this}: {Describe(happened)} -> {State.Phase} [{string.Join(", ", State.Workers.Values.Select(worker => $"{worker.Id} {worker.Stage} {worker.HeldStep}{(worker.Linked ? "" : " unlinked")}"))}]");
        foreach (var effect in effects)
            Perform(effect);
    }

    /// <summary>A clock that jumps: what is set fires now, or much later than it should.</summary>
    public void JumpClock()
    {
        World.Note($"the clock of {this} jumps");
        foreach (var timer in _timers.Where(timer => timer.Value.Set).Select(timer => timer.Key).Order().ToList())
            Set(timer, World.Random.Next(2) == 0 ? 0 : World.Random.Next(20_000));
    }

    /// <returns>Whether the turn goes on.</returns>
    private bool Journal(IReadOnlyList<CoordinatorEffect> effects)
    {
        var decisions = effects.OfType<RecordDecision>().Select(record => record.Decision).ToList();
        if (decisions.Count == 0)
            return true;
        if (World.Hazards.CrashesWhileJournaling(this, "before"))
            return false;
        foreach (var decision in decisions)
        {
            if (!World.Cluster.Append(this, _sequence++, decision))
            {
                Deactivate("another one has written to the journal");
                return false;
            }
        }
        return !World.Hazards.CrashesWhileJournaling(this, "after");
    }

    private void Perform(CoordinatorEffect effect)
    {
        switch (effect)
        {
            case TellWorker tell:
                var message = World.Rules.Downwards(tell.Message);
                if (message.Generation is { } generation)
                    World.Invariants.Announced(this, generation);
                if (!_sessions.TryGetValue(tell.Worker, out var session))
                    break;
                if (message.Goodbye is not null)
                    World.Invariants.Dismissed(session.Process);
                session.Stream.Send(message.ToByteArray());
                break;
            case DropWorker drop:
                if (_sessions.Remove(drop.Worker, out var dropped))
                    dropped.Stream.Close("dropped");
                break;
            case Publish publish:
                World.Note($"{this} says: {publish.Event}");
                World.Invariants.Published(this, publish.Event);
                break;
            case DrawSecret draw:
                After(World.Random.Next(1, 50), () => Happen(new SecretDrawn(draw.Generation, ByteString.CopyFrom(BitConverter.GetBytes(World.Random.NextInt64())))));
                break;
            case SetTimer set:
                Set(set.Timer, (long)Simulation.Patience(set.Timer).TotalMilliseconds);
                break;
            case CancelTimer cancel:
                _timers[cancel.Timer] = (false, ++_timersSet);
                break;
        }
    }

    private void Set(RunTimer timer, long milliseconds)
    {
        var number = ++_timersSet;
        _timers[timer] = (true, number);
        After(milliseconds, () => Fire(timer, number));
    }

    private void Fire(RunTimer timer, int number)
    {
        if (_timers.GetValueOrDefault(timer) != (true, number))
            return;
        _timers.Remove(timer);
        Happen(new TimerFired(timer, Simulation.Patience(timer)));
    }

    private void Hear(Session session, FromWorker message)
    {
        session.LastHeard = World.Now;
        if (message.Hello is { } hello)
        {
            if (_sessions.TryGetValue(hello.Worker, out var before) && before != session)
            {
                if (before.Process != session.Process)
                    before.Stream.Send(new FromCoordinator { Goodbye = new Goodbye { Reason = "another process has this name", ExitCode = ExitCode.Failure } }.ToByteArray());
                if (!World.Rules.MixesStreams)
                    before.Stream.Close("another stream");
            }
            _sessions[hello.Worker] = session;
            Happen(new WorkerArrived(hello));
        }
        else if (message.Heartbeat is null or { WaitsFor.Count: > 0 } && IsCurrent(session))
        {
            Happen(new WorkerSaid(session.Process.Name, message));
        }
    }

    private void Lose(Session session, string reason)
    {
        if (!IsCurrent(session))
            return;
        _sessions.Remove(session.Process.Name);
        Happen(new WorkerLost(session.Process.Name, reason));
    }

    private bool IsCurrent(Session session) => World.Rules.MixesStreams || _sessions.GetValueOrDefault(session.Process.Name) == session;

    private void ListenForSilence()
    {
        if (!Active)
            return;
        foreach (var session in _sessions.Values.Where(session => World.Now - session.LastHeard > Silence).ToList())
        {
            session.Stream.Close("silence");
            Lose(session, "it was silent for 10 s");
        }
        foreach (var session in _sessions.Values.Where(session => World.Now - session.LastHeard > Silence / 2).ToList())
            Happen(new WorkerSilent(session.Process.Name));
        After(Silence / 3, ListenForSilence);
    }

    private void Forget()
    {
        Active = false;
        State = CoordinatorState.Empty;
        _sessions.Clear();
        _timers.Clear();
    }

    private static string Describe(CoordinatorEvent happened) => happened switch
    {
        WorkerSaid said => $"{said.Worker} says {said.Message}",
        WorkerArrived arrived => $"{arrived.Hello.Incarnation} arrives {arrived.Hello.Standing}",
        _ => happened.ToString(),
    };

    private sealed class Session(Connection.End stream, SimulatedWorker process)
    {
        public Connection.End Stream => stream;

        public SimulatedWorker Process => process;

        public long LastHeard { get; set; }
    }
}
