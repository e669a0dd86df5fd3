using Google.Protobuf;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Tests.Generations;

/// <summary>Drives the coordinator's state machine by hand and keeps what it asked for.</summary>
internal sealed class CoordinatorScene
{
    public const string Run = "run-1";

    public CoordinatorScene(int workers = 2, int lanes = 4, Func<RunSpec, RunSpec>? change = null)
    {
        var spec = new RunSpec { Run = Run, Workers = workers, StartWorkers = workers, Lanes = lanes, MaxSteps = 10, OutputDir = "/output" };
        Happen(new RunSubmitted(change?.Invoke(spec) ?? spec));
    }

    /// <summary>Another coordinator, or this one after a crash: it knows nothing but the journal.</summary>
    private CoordinatorScene(IEnumerable<RunDecision> journal) => State = journal.Aggregate(CoordinatorState.Empty, CoordinatorProtocol.Apply);

    public CoordinatorState State { get; private set; } = CoordinatorState.Empty;

    /// <summary>Effects of all turns.</summary>
    public List<CoordinatorEffect> Effects { get; } = [];

    public IEnumerable<RunEvent> Events => Effects.OfType<Publish>().Select(publish => publish.Event);

    public IEnumerable<RunDecision> Journal => Effects.OfType<RecordDecision>().Select(record => record.Decision);

    public RunEvent? Outcome => Events.LastOrDefault(happened => happened is RunFinished or RunStopped or RunFailed);

    public GenerationPlan Plan => State.Generation!;

    public IEnumerable<string> Members => Plan.Members.Select(member => member.Worker);

    public IReadOnlyList<CoordinatorEffect> Happen(CoordinatorEvent happened)
    {
        (State, var effects) = CoordinatorProtocol.Decide(State, happened);
        Effects.AddRange(effects);
        return effects;
    }

    public IReadOnlyList<CoordinatorEffect> Say(string worker, FromWorker message) => Happen(new WorkerSaid(worker, message));

    public IReadOnlyList<CoordinatorEffect> TimeOut(RunTimer timer) => Happen(new TimerFired(timer, TimeSpan.FromSeconds(60)));

    public IReadOnlyList<CoordinatorEffect> Lose(string worker) => Happen(new WorkerLost(worker, "it closed its connection."));

    public IReadOnlyList<CoordinatorEffect> Stop() => Happen(new StopRequested("Ctrl-C"));

    public IEnumerable<FromCoordinator> ToldTo(string worker) => Told(Effects, worker);

    /// <summary>The last announcement of a generation.</summary>
    public Generation Announced => Effects.OfType<TellWorker>().Last(tell => tell.Message.Generation is not null).Message.Generation;

    public CoordinatorScene Arrive(params string[] workers)
    {
        foreach (var worker in workers)
            Happen(new WorkerArrived(HelloOf(worker)));
        return this;
    }

    public CoordinatorScene Prove(params (string Worker, string Canary)[] canaries)
    {
        foreach (var (worker, canary) in canaries)
            Say(worker, CanaryOf(worker, canary));
        return this;
    }

    /// <summary>Somebody new comes and proves itself.</summary>
    public CoordinatorScene Join(string worker, string canary = "a") => Arrive(worker).Prove((worker, canary));

    public CoordinatorScene Form()
    {
        var draw = Effects.OfType<DrawSecret>().Last();
        Happen(new SecretDrawn(draw.Generation, ByteString.CopyFrom(1, 2, 3)));
        return this;
    }

    public CoordinatorScene Ready(params string[] workers)
    {
        foreach (var worker in workers)
            Say(worker, ReadyOf(Plan.Number, Plan.FirstStep));
        return this;
    }

    public CoordinatorScene Halted(string worker, long step, string reason = "", params string[] suspects)
    {
        Say(worker, HaltedOf(Plan.Number, step, reason, suspects));
        return this;
    }

    /// <summary>Workers w1, w2, ... of the first generation, all computing.</summary>
    public static CoordinatorScene Running(int workers = 2, int lanes = 4, Func<RunSpec, RunSpec>? change = null)
    {
        var scene = new CoordinatorScene(workers, lanes, change);
        string[] names = [.. Enumerable.Range(1, scene.State.Spec!.StartWorkers).Select(number => $"w{number}")];
        scene.Arrive(names).Prove([.. names.Select(name => (name, "a"))]).TimeOut(RunTimer.Arrival);
        return scene.Form().Ready(names);
    }

    public CoordinatorScene Restart()
    {
        var scene = new CoordinatorScene(Journal);
        scene.Happen(new RunRecovered());
        return scene;
    }

    public static IEnumerable<FromCoordinator> Told(IEnumerable<CoordinatorEffect> effects, string worker) =>
        effects.OfType<TellWorker>().Where(tell => tell.Worker == worker).Select(tell => tell.Message);

    public static Hello HelloOf(string worker, Standing? standing = null, string incarnation = "first") => new()
    {
        Worker = worker,
        Host = $"host-{worker}",
        ProcessId = 7,
        Device = "cpu",
        Numerics = $"numerics of {worker}",
        ProtocolVersion = WorkerProtocol.Version,
        Incarnation = incarnation,
        Standing = standing,
    };

    public static Standing StandingOf(string worker, long generation, long step, bool inGeneration, bool draining = false) => new()
    {
        Run = Run,
        Generation = (ulong)generation,
        Step = step,
        Canary = "a",
        Endpoints = { $"tcp:{worker}:1" },
        InGeneration = inGeneration,
        Draining = draining,
    };

    public static FromWorker CanaryOf(string worker, string canary) => new() { Canary = new CanaryResult { Run = Run, Sha256 = canary, Endpoints = { $"tcp:{worker}:1" } } };

    public static FromWorker ReadyOf(long generation, long step) => new() { Ready = new Ready { Run = Run, Generation = (ulong)generation, Step = (ulong)step } };

    public static FromWorker StepOf(long generation, long step, double loss = 2) => new()
    {
        Step = new StepReport { Run = Run, Generation = (ulong)generation, Step = (ulong)step, Loss = loss, Tokens = 1000, StepSeconds = 0.25 },
    };

    public static FromWorker CheckpointOf(long step, string error = "", long generation = 1) => new()
    {
        Checkpoint = new CheckpointReport
        {
            Run = Run,
            Generation = (ulong)generation,
            Step = (ulong)step,
            Path = error.Length > 0 ? "" : $"/output/checkpoint-{step}",
            WeightsSha256 = "w",
            Error = error,
        },
    };

    public static FromWorker FinishedOf(long generation, long step, string weights) => new()
    {
        Finished = new Finished { Run = Run, Generation = (ulong)generation, Step = (ulong)step, WeightsSha256 = weights },
    };

    public static FromWorker HaltedOf(long generation, long step, string reason, params string[] suspects) => new()
    {
        Halted = new Halted { Run = Run, Generation = (ulong)generation, Step = step, Reason = reason, Suspects = { suspects } },
    };

    public static FromWorker FailedOf(string message, int exitCode = ExitCode.Failure, long generation = 1, bool cannotSave = false) => new()
    {
        Failed = new Failed { Run = Run, Generation = (ulong)generation, Message = message, ExitCode = (uint)exitCode, CannotSave = cannotSave },
    };

    public static FromWorker WantsToLeave { get; } = new() { Draining = new Draining { Reason = "SIGTERM" } };
}
