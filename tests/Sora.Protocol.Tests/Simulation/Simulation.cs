using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;

namespace Sora.Protocol.Tests.Simulation;

/// <summary>
/// One run, from its submission to its end, with everything that the seed makes happen to it. Real state machines, a network, machines
/// and a trainer that are made up, no real time: the same seed always plays the same run.
/// </summary>
internal sealed class Simulation
{
    /// <summary>A member gives up on peers after this: the run's ddp_timeout.</summary>
    public const long PeerTimeout = 8_000; // ms
    public const long NoticeableWait = 2_000; // ms

    private const long Patient = 600_000; // ms of virtual time a mended run may take
    private const long MostEvents = 3_000_000;
    private readonly Timeline _timeline = new();
    private readonly List<string>? _trace;
    private readonly Dictionary<string, SimulatedWorker> _byName = new(StringComparer.Ordinal);
    private readonly List<SimulatedWorker> _workers = [];
    private int _processes;

    public Simulation(int seed, ProtocolRules rules, bool trace = false)
    {
        Random = new Random(seed);
        Rules = rules;
        _trace = trace ? [] : null;
        Schedule = new Schedule(seed, Random);
        Network = new SimulatedNetwork(this);
        Invariants = new Invariants(this);
        Storage = new Storage(this);
        Faults = new Faults(this);
        Hazards = new Hazards(this);
        Cluster = new SimulatedCluster(this, Schedule.Coordinators);
    }

    public static IReadOnlyList<Fault> AllFaults { get; } = Enum.GetValues<Fault>();

    public Random Random { get; }

    public ProtocolRules Rules { get; }

    public Schedule Schedule { get; }

    public SimulatedNetwork Network { get; }

    public SimulatedCluster Cluster { get; }

    public Storage Storage { get; }

    public Invariants Invariants { get; }

    public Faults Faults { get; }

    public Hazards Hazards { get; }

    public IReadOnlyList<SimulatedWorker> Workers => _workers;

    public bool Mended { get; set; }

    public bool StopAsked { get; set; }

    /// <summary>What went wrong in work that waits in between.</summary>
    public Exception? Broken { get; set; }

    public long Now => _timeline.Now;

    public long Events => _timeline.Events;

    public bool Tracing => _trace is not null;

    public IReadOnlyList<string> Trace => _trace ?? [];

    /// <summary>How long a coordinator waits for what.</summary>
    public static TimeSpan Patience(RunTimer timer) => TimeSpan.FromSeconds(timer switch
    {
        RunTimer.Arrival => 20,
        RunTimer.Readiness => 20,
        RunTimer.Absence => 10,
        RunTimer.Halt => 5,
        RunTimer.Save => 30,
        RunTimer.Return => 8,
        RunTimer.Backoff => 2,
        _ => 30,
    });

    public void Run()
    {
        for (var worker = 0; worker < Schedule.Workers; worker++)
            StartWorker();
        Faults.Plan();
        while (!Done())
        {
            if (!_timeline.Next())
                throw new BrokenPromise("nothing more will ever happen, and the run is not over");
            if (Broken is not null)
                throw Broken is BrokenPromise broken ? broken : new InvalidOperationException("The simulation itself failed.", Broken);
            if (Events > MostEvents || Now > Schedule.FaultsEnd + Patient)
                throw new BrokenPromise($"no end in sight after {Events} events and {Now / 1000} s; the coordinator is {Cluster.Owner.State.Phase}");
        }
    }

    public void After(long milliseconds, Action happening) => _timeline.After(milliseconds, happening);

    public SimulatedWorker? WorkerNamed(string name) => _byName.GetValueOrDefault(name);

    /// <summary>A machine starts a worker, unless one of that name still runs.</summary>
    public void StartWorker(string? name = null, bool odd = false)
    {
        name ??= $"w{_workers.Count + 1:00}";
        if (Cluster.Over || WorkerNamed(name) is { Alive: true })
            return;
        Note($"{name} is started{(odd ? ", with other numerics" : "")}");
        var worker = new SimulatedWorker(this, name, ++_processes, odd);
        _workers.Add(worker);
        _byName[name] = worker;
    }

    public void WorkerExited(SimulatedWorker worker, int exitCode)
    {
        if (exitCode is ExitCode.Ok or ExitCode.Resumable || worker.Odd)
            return;
        After(2_000, () => StartWorker(worker.Name));
    }

    public void Note(string what) => _trace?.Add($"{Now,8} {what}");

    /// <summary>The run is over, and whoever took part knows.</summary>
    private bool Done() => Cluster.Over && Mended && _workers.TrueForAll(worker => !worker.Alive || worker.State.Run.Length == 0);
}
