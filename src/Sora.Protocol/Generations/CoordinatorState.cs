using System.Collections.Immutable;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Generations;

/// <summary>Where a run stands, seen from the coordinator.</summary>
public enum RunPhase
{
    /// <summary>Nothing is going on: never submitted, or the coordinator came back in the middle of the run.</summary>
    Idle,
    /// <summary>Fewer workers than the run wants are here.</summary>
    Gathering,
    /// <summary>All workers are here and compute their canary.</summary>
    Proving,
    /// <summary>All canaries are accepted; the generation's secret is being drawn.</summary>
    Forming,
    /// <summary>The members connect to each other and load the state of the first step.</summary>
    AwaitingReady,
    /// <summary>Steps are being computed.</summary>
    Running,
    /// <summary>At least one member has reported the last step.</summary>
    Finishing,
    /// <summary>The members stop after the step they are computing.</summary>
    Stopping,
    /// <summary>The run is over; <see cref="CoordinatorState.Outcome"/> says how.</summary>
    Ended,
}

/// <summary>What a member of the run has told so far.</summary>
public enum WorkerStage
{
    /// <summary>It got its assignment and computes the canary.</summary>
    Assigned,
    /// <summary>Its canary is here but not judged.</summary>
    Proven,
    /// <summary>Its canary is accepted.</summary>
    Admitted,
    /// <summary>It holds the state of the generation's first step and is connected to its peers.</summary>
    Ready,
    /// <summary>It committed the last step.</summary>
    Finished,
    /// <summary>It stopped on request.</summary>
    Stopped,
    /// <summary>It went away while the run was stopping.</summary>
    Gone,
}

/// <summary>A worker as the coordinator knows it.</summary>
/// <param name="Id">Stable for the life of the process.</param>
/// <param name="Host">Machine name.</param>
/// <param name="ProcessId">Process on that machine.</param>
/// <param name="Device">What it computes on.</param>
/// <param name="Fingerprint">Its numerics: libtorch, device class, CPU capability, threads.</param>
public sealed record WorkerState(string Id, string Host, int ProcessId, string Device, string Fingerprint)
{
    /// <summary>How far it has come.</summary>
    public WorkerStage Stage { get; init; }

    /// <summary>Gradient hash of the job's fixed micro-batch; empty until it arrives.</summary>
    public string Canary { get; init; } = "";

    /// <summary>Where peers can dial it, best first.</summary>
    public ImmutableArray<string> Endpoints { get; init; } = [];

    /// <summary>Hash of its weights after the last step; empty until it has finished.</summary>
    public string WeightsSha256 { get; init; } = "";

    /// <summary>How messages to people call it.</summary>
    public override string ToString() => $"worker {Id} ({Host}, process {ProcessId})";
}

/// <summary>A member of a generation and its lanes.</summary>
/// <param name="Worker">Worker id.</param>
/// <param name="Lanes">The lanes it owns.</param>
public readonly record struct GenerationMember(string Worker, LaneRange Lanes);

/// <summary>An agreed membership.</summary>
/// <param name="Number">Strictly increasing within a run.</param>
/// <param name="Members">In rank order, which is the ordinal order of worker ids.</param>
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

    /// <summary>Workers beyond those the run wants: they take the place of one that is refused or lost before training begins.</summary>
    public ImmutableArray<WorkerState> Standby { get; init; } = [];

    /// <summary>The canary every worker is held to, once it is known.</summary>
    public CanaryReference? Reference { get; init; }

    /// <summary>A worker with other numerics was let in (<c>numerics: warn</c>): the result is not reproducible bit for bit.</summary>
    public bool NumericsDiffer { get; init; }

    /// <summary>The highest generation number ever used by the run, also before a restart of the coordinator.</summary>
    public long LastGeneration { get; init; }

    /// <summary>The membership in force; null before one is formed.</summary>
    public GenerationPlan? Generation { get; init; }

    /// <summary>Steps known to be committed; the first step until one is.</summary>
    public long LastStep { get; init; }

    /// <summary>The last step shown to people: several members may report the same one.</summary>
    public long LastReport { get; init; }

    /// <summary>Mean loss of <see cref="LastStep"/>.</summary>
    public double LastLoss { get; init; } = double.NaN;

    /// <summary>Step of the last evaluation; -1 before one.</summary>
    public long LastEvaluation { get; init; } = -1;

    /// <summary>Loss of the last evaluation.</summary>
    public double? EvalLoss { get; init; }

    /// <summary>The newest checkpoint, or the one the run was resumed from.</summary>
    public CheckpointMark? Checkpoint { get; init; }

    /// <summary>Why the run is stopping.</summary>
    public string StopReason { get; init; } = "";

    /// <summary>A failure that may be the echo of another one; it counts when nothing better arrives in time.</summary>
    public RunFault? Echo { get; init; }

    /// <summary>How the run ended.</summary>
    public RunEvent? Outcome { get; init; }

    private static ImmutableSortedDictionary<string, WorkerState> NoWorkers { get; } = ImmutableSortedDictionary.Create<string, WorkerState>(StringComparer.Ordinal);
}

/// <summary>Why a run fails.</summary>
/// <param name="Worker">The worker that caused it; null when none did.</param>
/// <param name="Message">What happened.</param>
/// <param name="ExitCode">One of <see cref="Jobs.ExitCode"/>.</param>
public sealed record RunFault(string? Worker, string Message, int ExitCode);
