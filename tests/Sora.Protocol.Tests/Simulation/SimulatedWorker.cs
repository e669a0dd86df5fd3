using Google.Protobuf;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;

namespace Sora.Protocol.Tests.Simulation;

/// <summary>
/// A worker process: the real state machine in a shell that does what it says. What the shell promises: events are decided one at a
/// time; messages of a stream that was given up are dropped; it dials again by itself, any coordinator; what it reported
/// is remembered and told again after every Hello, and when a generation begins, by the member that reports.
/// </summary>
internal sealed class SimulatedWorker : SimulatedProcess
{
    private const long Heartbeat = 3_000;
    private const long Silence = 15_000;
    private readonly List<FromWorker> _reports = [];
    private readonly Hello _introduction;
    private SimulatedTraining? _training;
    private Connection.End? _stream;
    private FromWorker? _lastCheckpoint;
    private long _lastAnswer;
    private int _dialled;

    public SimulatedWorker(Simulation world, string name, int incarnation, bool odd) : base(world, name)
    {
        Odd = odd;
        State = new WorkerProtocolState(name);
        Trainer = new StandInTrainer(world.Schedule.Seed, odd);
        _introduction = new Hello { Worker = name, Incarnation = $"{name}-{incarnation}", ProtocolVersion = WorkerProtocol.Version, Numerics = odd ? "odd" : "usual" };
        _dialled = world.Random.Next(3);
        After(world.Random.Next(200), Dial);
        After(Heartbeat, Beat);
    }

    /// <summary>Its numerics differ from everybody else's.</summary>
    public bool Odd { get; }

    public string Incarnation => _introduction.Incarnation;

    public WorkerProtocolState State { get; private set; }

    public StandInTrainer Trainer { get; }

    public SimulatedMesh? Mesh { get; private set; }

    public Connection.End? Stream => _stream;

    private bool Reports => Mesh is { } mesh && mesh.Rank == mesh.Generation.Reporter;

    public void Post(WorkerEvent happened) => After(0, () => Happen(happened));

    public void Committed(long generation)
    {
        Report(new FromWorker { Step = new StepReport { Run = Mesh!.Generation.Run, Generation = (ulong)generation, Step = (ulong)Trainer.Step, Loss = Trainer.Step, StepSeconds = 1 } });
        Post(new WorkerEvent.StepCommitted(generation, Trainer.Step));
    }

    /// <summary>Every member remembers what is to be told of a step; one of them tells it.</summary>
    public void Report(FromWorker report)
    {
        _reports.Add(report);
        if (Reports)
            Send(report);
    }

    /// <summary>It speaks for its generation, and knows of this step.</summary>
    public bool CouldTell(long step) => Reports && _reports.Exists(report => (long)(report.Step?.Step ?? 0) == step);

    public async Task SaveAsync(long step)
    {
        var (weights, started) = (Trainer.Weights, World.Now);
        await Delay(World.Random.Next(20, 1_500));
        var error = World.Storage.Write(step, weights);
        var report = new CheckpointReport { Run = State.Run, Generation = (ulong)State.Generation, Step = (ulong)step, Path = Storage.PathOf(step), WeightsSha256 = $"{weights:x16}", Error = error };
        World.Hazards.Strike("checkpoint", this);
        var message = new FromWorker { Checkpoint = report };
        if (error.Length == 0 && step > (long)(_lastCheckpoint?.Checkpoint.Step ?? 0))
            _lastCheckpoint = message;
        Send(message);
    }

    private void Happen(WorkerEvent happened)
    {
        var before = State;
        (State, var effects) = World.Rules.Worker(State, happened);
        if (World.Tracing && State != before)
            World.Note($"{this}: {happened.GetType().Name} -> {State.Phase}, generation {State.Generation}, step {State.Step}{(State.Draining ? ", draining" : "")}");
        World.Invariants.WorkerMoved(this, before);
        foreach (var effect in effects)
            Perform(effect);
    }

    private void Perform(WorkerEffect effect)
    {
        if (WorkerMessages.Write(effect, _introduction, [$"tcp:{Name}"]) is { } message)
            Send(message);
        switch (effect)
        {
            case WorkerEffect.SendHello:
                TellAgain();
                break;
            case WorkerEffect.Prove prove:
                After(World.Random.Next(50, 800), () => Post(new WorkerEvent.Proved(prove.Assignment.Run, Odd ? "odd" : "usual", 10)));
                break;
            case WorkerEffect.Join join:
                Mesh = new SimulatedMesh(World, this, join.Generation, join.Rank);
                _training = new SimulatedTraining(World, this, Mesh);
                Start(_training.JoinAsync);
                break;
            case WorkerEffect.Train:
                TellAgain();
                Start(_training!.TrainAsync);
                break;
            case WorkerEffect.HaltAfterStep:
                _training!.HaltAfterStep();
                break;
            case WorkerEffect.BreakOff breakOff:
                Mesh!.Leave(breakOff.Reason);
                break;
            case WorkerEffect.SendHalted:
                World.Hazards.Strike("halted", this);
                break;
            case WorkerEffect.Save save:
                Start(() => SaveAsync(save.Step));
                break;
            case WorkerEffect.Abandon abandon:
                Mesh?.Leave(abandon.Reason);
                break;
            case WorkerEffect.Exit exit:
                World.Note($"{this} ends with {exit.Code}: {exit.Message}");
                World.WorkerExited(this, exit.Code);
                Leave("the worker ended");
                break;
        }
    }

    /// <summary>What people may have missed, in the name of the generation of now. The checkpoint last: it may be all that the run still lacks.</summary>
    private void TellAgain()
    {
        if (Reports)
            TellReports();
        if (_lastCheckpoint is not null)
            Send(_lastCheckpoint);
    }

    private void TellReports()
    {
        foreach (var report in _reports)
        {
            var again = report.Clone();
            if (again.Step is { } step)
                step.Generation = (ulong)State.Generation;
            if (again.Evaluation is { } evaluation)
                evaluation.Generation = (ulong)State.Generation;
            if (again.Evaluation is not null || (long)again.Step.Step > Mesh!.Generation.ReportedStep)
                Send(again);
        }
    }

    private void Send(FromWorker message) => _stream?.Send(message.ToByteArray());

    private void Dial()
    {
        var coordinator = World.Cluster.Coordinators[_dialled++ % World.Cluster.Coordinators.Count];
        if (!coordinator.Accepts || !World.Network.Connects(Name, coordinator.Name))
        {
            After(World.Random.Next(100, 1_500), Dial);
            return;
        }
        var connection = new Connection(World, this, coordinator);
        var stream = connection.Dialer;
        (_stream, _lastAnswer) = (stream, World.Now);
        stream.Received = message => Hear((byte[])message);
        stream.Closed = Disconnected;
        coordinator.Accept(connection.Listener);
        Post(new WorkerEvent.Connected());
    }

    private void Hear(byte[] message)
    {
        if (WorkerMessages.Read(FromCoordinator.Parser.ParseFrom(message)) is { } happened)
            Post(happened);
    }

    private void Disconnected(string reason)
    {
        _stream = null;
        Post(new WorkerEvent.Disconnected(reason));
        After(World.Random.Next(50, 1_000), Dial);
    }

    /// <summary>A beat, and a look whether beats are answered.</summary>
    private void Beat()
    {
        if (_stream is { } stream)
        {
            Send(new FromWorker { Heartbeat = new Heartbeat { Step = (ulong)Math.Max(0, State.Step), Generation = (ulong)State.Generation, WaitsFor = { Mesh?.WaitsFor() ?? [] } } });
            if (stream.Other.Open && !stream.Other.Process.Paused && World.Network.Connects(Name, stream.Other.Process.Name))
                _lastAnswer = World.Now;
            if (World.Now - _lastAnswer > Silence)
            {
                stream.Close("no answer");
                Disconnected("no answer");
            }
        }
        After(Heartbeat, Beat);
    }
}
