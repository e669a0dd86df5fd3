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
        var spec = new RunSpec { Run = Run, Workers = workers, Lanes = lanes, MaxSteps = 10, OutputDir = "/output" };
        Happen(new RunSubmitted(change?.Invoke(spec) ?? spec));
    }

    public CoordinatorState State { get; private set; } = CoordinatorState.Empty;

    /// <summary>Effects of all turns.</summary>
    public List<CoordinatorEffect> Effects { get; } = [];

    public IEnumerable<RunEvent> Events => Effects.OfType<Publish>().Select(publish => publish.Event);

    public RunEvent? Outcome => Events.LastOrDefault(happened => happened is RunFinished or RunStopped or RunFailed);

    public IReadOnlyList<CoordinatorEffect> Happen(CoordinatorEvent happened)
    {
        (State, var effects) = CoordinatorProtocol.Decide(State, happened);
        Effects.AddRange(effects);
        return effects;
    }

    public IReadOnlyList<CoordinatorEffect> Say(string worker, FromWorker message) => Happen(new WorkerSaid(worker, message));

    public IEnumerable<FromCoordinator> ToldTo(string worker) => Effects.OfType<TellWorker>().Where(tell => tell.Worker == worker).Select(tell => tell.Message);

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

    public CoordinatorScene Form()
    {
        var draw = Effects.OfType<DrawSecret>().Last();
        Happen(new SecretDrawn(draw.Generation, ByteString.CopyFrom(1, 2, 3)));
        return this;
    }

    public CoordinatorScene Ready(params string[] workers)
    {
        foreach (var worker in workers)
            Say(worker, ReadyOf(1, State.Spec!.FirstStep));
        return this;
    }

    /// <summary>Two workers, w1 and w2, computing.</summary>
    public static CoordinatorScene Running(Func<RunSpec, RunSpec>? change = null) =>
        new CoordinatorScene(change: change).Arrive("w1", "w2").Prove(("w1", "a"), ("w2", "a")).Form().Ready("w1", "w2");

    public static Hello HelloOf(string worker) => new() { Worker = worker, Host = $"host-{worker}", ProcessId = 7, Device = "cpu", Numerics = $"numerics of {worker}", ProtocolVersion = 1 };

    public static FromWorker CanaryOf(string worker, string canary) => new() { Canary = new CanaryResult { Run = Run, Sha256 = canary, Endpoints = { $"tcp:{worker}:1" } } };

    public static FromWorker ReadyOf(long generation, long step) => new() { Ready = new Ready { Run = Run, Generation = (ulong)generation, Step = (ulong)step } };

    public static FromWorker StepOf(long generation, long step, double loss = 2) => new()
    {
        Step = new StepReport { Run = Run, Generation = (ulong)generation, Step = (ulong)step, Loss = loss, Tokens = 1000, StepSeconds = 0.25 },
    };

    public static FromWorker CheckpointOf(long generation, long step) => new()
    {
        Checkpoint = new CheckpointReport { Run = Run, Generation = (ulong)generation, Step = (ulong)step, Path = $"/output/checkpoint-{step}", WeightsSha256 = "w" },
    };

    public static FromWorker FinishedOf(long generation, long step, string weights) => new()
    {
        Finished = new Finished { Run = Run, Generation = (ulong)generation, Step = (ulong)step, WeightsSha256 = weights },
    };

    public static FromWorker StoppedOf(long generation, long step, string checkpoint) => new()
    {
        Stopped = new Stopped { Run = Run, Generation = (ulong)generation, Step = (ulong)step, Checkpoint = checkpoint },
    };

    public static FromWorker FailedOf(long generation, string message, bool peerLost, uint exitCode = ExitCode.Failure) => new()
    {
        Failed = new Failed { Run = Run, Generation = (ulong)generation, Message = message, PeerLost = peerLost, ExitCode = exitCode },
    };
}
