using System.Collections.Immutable;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Generations;

/// <summary>Where a run stands.</summary>
public enum RunPhase
{
    /// <summary>Nothing was submitted.</summary>
    Idle,
    /// <summary>The coordinator was restarted, or is another one; the members of the generation dial again.</summary>
    Recovering,
    /// <summary>No generation is in force: fewer workers are here, or have proved themselves, than the run needs.</summary>
    Gathering,
    /// <summary>There are enough; the generation's secret is being drawn.</summary>
    Forming,
    /// <summary>The members connect to each other and take up the state of the first step. Some may compute already.</summary>
    Joining,
    /// <summary>All members compute.</summary>
    Running,
    /// <summary>The members stop at a step boundary, for the next generation or for the end.</summary>
    Halting,
    /// <summary>A halted worker writes a checkpoint.</summary>
    Saving,
    /// <summary>The run is over; <see cref="CoordinatorState.Outcome"/> says how.</summary>
    Ended,
}

/// <summary>How a worker takes part.</summary>
public enum WorkerStage
{
    /// <summary>It got its assignment and computes the canary.</summary>
    Assigned,
    /// <summary>Its canary is here but not judged.</summary>
    Proven,
    /// <summary>It is accepted and in no generation.</summary>
    Waiting,
    /// <summary>It computes in a generation that is not in force; it was told to halt.</summary>
    Stray,
    /// <summary>It is a member and gets ready.</summary>
    Joining,
    /// <summary>It is a member and computes.</summary>
    Training,
    /// <summary>It is a member and has committed the last step.</summary>
    Finished,
}

/// <summary>A process of a worker: what it did wrong is not held against the next one of its name.</summary>
/// <param name="Worker">Its name.</param>
/// <param name="Incarnation">Which process of that name.</param>
public readonly record struct WorkerProcess(string Worker, string Incarnation);

/// <summary>A worker as the coordinator knows it.</summary>
/// <param name="Id">Its name.</param>
/// <param name="Incarnation">Which process of that name.</param>
/// <param name="Host">Machine name.</param>
/// <param name="ProcessId">Process on that machine.</param>
/// <param name="Device">What it computes on.</param>
/// <param name="Fingerprint">Its numerics: libtorch, device class, CPU capability, threads.</param>
public sealed record WorkerState(string Id, string Incarnation, string Host, int ProcessId, string Device, string Fingerprint)
{
    /// <summary>How it takes part.</summary>
    public WorkerStage Stage { get; init; }

    /// <summary>Its stream is open.</summary>
    public bool Linked { get; init; } = true;

    /// <summary>Why its stream closed, while it is not <see cref="Linked"/>.</summary>
    public string LostReason { get; init; } = "";

    /// <summary>It wants to leave.</summary>
    public bool Draining { get; init; }

    /// <summary>Steps its weights have committed, as last heard; -1: it holds no state of the run.</summary>
    public long HeldStep { get; init; } = -1;

    /// <summary>Gradient hash of the job's fixed micro-batch; empty until it arrives.</summary>
    public string Canary { get; init; } = "";

    /// <summary>What a lane costs it, in seconds of computing, smoothed; 0: not measured yet.</summary>
    public double SecondsPerLane { get; init; }

    /// <summary>For how long it has been slow, in seconds of steps.</summary>
    public double SlowSeconds { get; init; }

    /// <summary>Peers that keep it from going on with the exchange, as of its last heartbeat.</summary>
    public ImmutableArray<string> WaitsFor { get; init; } = [];

    /// <summary>People were told that it is slow.</summary>
    public bool NamedSlow { get; init; }

    /// <summary>Its weights were found to differ from the others': what it holds counts for nothing until it has taken theirs.</summary>
    public bool Distrusted { get; init; }

    /// <summary>How often that happened.</summary>
    public int Corruptions { get; init; }

    /// <summary>Where peers can dial it, best first.</summary>
    public ImmutableArray<string> Endpoints { get; init; } = [];

    /// <summary>Hash of its weights after the last step; empty until it has finished.</summary>
    public string WeightsSha256 { get; init; } = "";

    /// <summary>Which process it is.</summary>
    public WorkerProcess Process => new(Id, Incarnation);

    /// <summary>The step others may take its state of; -1: none.</summary>
    public long TrustedStep => Distrusted ? -1 : HeldStep;

    /// <summary>It is a member of the generation in force and may commit steps.</summary>
    public bool InGeneration => Stage is WorkerStage.Joining or WorkerStage.Training or WorkerStage.Finished;

    /// <summary>How messages to people call it.</summary>
    public override string ToString() => $"worker {Id} ({Host}, process {ProcessId})";
}

/// <summary>What is held against a process of a worker.</summary>
/// <param name="Corruptions">As <see cref="WorkerState.Corruptions"/>.</param>
/// <param name="Distrusted">As <see cref="WorkerState.Distrusted"/>.</param>
public readonly record struct Blemish(int Corruptions, bool Distrusted);

/// <summary>A member of a generation and its lanes.</summary>
/// <param name="Worker">Worker id.</param>
/// <param name="Lanes">The lanes it owns.</param>
public readonly record struct GenerationMember(string Worker, LaneRange Lanes);

/// <summary>An agreed membership.</summary>
/// <param name="Number">Strictly increasing within a run.</param>
/// <param name="Members">In rank order: the ordinal order of worker ids, begun elsewhere when lanes are to change hands.</param>
/// <param name="FirstStep">The first step it evaluates.</param>
public sealed record GenerationPlan(long Number, ImmutableArray<GenerationMember> Members, long FirstStep);

/// <summary>A checkpoint the run can be resumed from.</summary>
/// <param name="Step">Steps it contains.</param>
/// <param name="Path">Its folder.</param>
public sealed record CheckpointMark(long Step, string Path);

/// <summary>Everything the coordinator knows about a run. Immutable; <see cref="CoordinatorProtocol.Decide"/> makes the next one.</summary>
public sealed record CoordinatorState
{
    /// <summary>A run nobody has submitted yet.</summary>
    public static CoordinatorState Empty { get; } = new();

    /// <summary>What was submitted; null before that.</summary>
    public RunSpec? Spec { get; init; }

    /// <summary>Where the run stands.</summary>
    public RunPhase Phase { get; init; }

    /// <summary>The workers that take part, by id.</summary>
    public ImmutableSortedDictionary<string, WorkerState> Workers { get; init; } = NoWorkers;

    /// <summary>Workers beyond those the run wants: they take the place of one that leaves.</summary>
    public ImmutableArray<WorkerState> Standby { get; init; } = [];

    /// <summary>The canary every worker is held to, once it is known.</summary>
    public CanaryReference? Reference { get; init; }

    /// <summary>A worker with other numerics was let in (<c>numerics: warn</c>): the result is not reproducible bit for bit.</summary>
    public bool NumericsDiffer { get; init; }

    /// <summary>The run begins with those who are here: nobody else came in time, or somebody was refused.</summary>
    public bool PatienceOver { get; init; }

    /// <summary>The last worker refused for its numerics, and why; null: none was.</summary>
    public RunFault? Refusal { get; init; }

    /// <summary>The highest generation number ever used by the run, also before a restart of the coordinator.</summary>
    public long LastGeneration { get; init; }

    /// <summary>The membership in force, or the last that was; null before one is formed.</summary>
    public GenerationPlan? Generation { get; init; }

    /// <summary>The members are halting at once, not after a step together.</summary>
    public bool HaltAtOnce { get; init; }

    /// <summary>Generations in a row that committed no step.</summary>
    public int Fruitless { get; init; }

    /// <summary>The pause after a fruitless generation is going on.</summary>
    public bool BackingOff { get; init; }

    /// <summary>Since the last progress: whom members could not work with, and which members said so.</summary>
    public ImmutableSortedDictionary<string, ImmutableSortedSet<string>> Accusers { get; init; } = NoAccusers;

    /// <summary>Workers kept out of generations for a while.</summary>
    public ImmutableSortedSet<string> Quarantined { get; init; } = ImmutableSortedSet.Create<string>(StringComparer.Ordinal);

    /// <summary>Workers that failed since the last progress.</summary>
    public int Failures { get; init; }

    /// <summary>Hashes of the replicas in the generation in force, by step and worker, until all members have told theirs.</summary>
    public ImmutableSortedDictionary<long, ImmutableSortedDictionary<string, string>> Hashes { get; init; } = NoHashes;

    /// <summary>Members distrusted since the generation was formed must take the others' state.</summary>
    public bool Healing { get; init; }

    /// <summary>The step that is evaluated once more because its loss or gradient were not finite; null: none.</summary>
    public StepDoubt? Doubt { get; init; }

    /// <summary>Processes that were found to compute wrongly, and how: they are not taken back.</summary>
    public ImmutableDictionary<WorkerProcess, string> Barred { get; init; } = ImmutableDictionary<WorkerProcess, string>.Empty;

    /// <summary>What was held against processes that were put out: it still is when they come back.</summary>
    public ImmutableDictionary<WorkerProcess, Blemish> Blemishes { get; init; } = ImmutableDictionary<WorkerProcess, Blemish>.Empty;

    /// <summary>For how long another deal of the lanes would have been much better, in seconds of steps.</summary>
    public double UnevenSeconds { get; init; }

    /// <summary>The worker that was told to save; empty: none.</summary>
    public string Saver { get; init; } = "";

    /// <summary>People were told that the run waits for workers.</summary>
    public bool WaitAnnounced { get; init; }

    /// <summary>Steps known to be committed; the first step until one is.</summary>
    public long LastStep { get; init; }

    /// <summary>The last step shown to people: several members may report the same one.</summary>
    public long LastReport { get; init; }

    /// <summary>Mean loss of <see cref="LastReport"/>.</summary>
    public double LastLoss { get; init; } = double.NaN;

    /// <summary>Step of the last evaluation; -1 before one.</summary>
    public long LastEvaluation { get; init; } = -1;

    /// <summary>Loss of the last evaluation.</summary>
    public double? EvalLoss { get; init; }

    /// <summary>The newest checkpoint, or the one the run was resumed from.</summary>
    public CheckpointMark? Checkpoint { get; init; }

    /// <summary>Why the run is to stop; empty: it is not.</summary>
    public string StopReason { get; init; } = "";

    /// <summary>How the run ended.</summary>
    public RunEvent? Outcome { get; init; }

    internal static ImmutableSortedDictionary<string, ImmutableSortedSet<string>> NoAccusers { get; } =
        ImmutableSortedDictionary.Create<string, ImmutableSortedSet<string>>(StringComparer.Ordinal);

    internal static ImmutableSortedDictionary<long, ImmutableSortedDictionary<string, string>> NoHashes { get; } =
        ImmutableSortedDictionary<long, ImmutableSortedDictionary<string, string>>.Empty;

    private static ImmutableSortedDictionary<string, WorkerState> NoWorkers { get; } = ImmutableSortedDictionary.Create<string, WorkerState>(StringComparer.Ordinal);
}

/// <summary>Why a run fails, or a worker is put out.</summary>
/// <param name="Worker">The worker that caused it; null when none did.</param>
/// <param name="Message">What happened.</param>
/// <param name="ExitCode">One of <see cref="Jobs.ExitCode"/>.</param>
public sealed record RunFault(string? Worker, string Message, int ExitCode);
