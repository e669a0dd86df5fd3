using System.Collections.Immutable;
using Sora.Protocol.Runs;

namespace Sora.Federation.Rounds;

/// <summary>Where a federated run stands.</summary>
public enum RoundPhase
{
    /// <summary>Nothing was submitted.</summary>
    Idle,
    /// <summary>No round is open: too few sites are here, or an attempt has just been given up.</summary>
    Gathering,
    /// <summary>A cohort is picked; the ledger is asked. No site knows of it.</summary>
    Reserving,
    /// <summary>Sites train and deliver.</summary>
    Open,
    /// <summary>The set of updates is fixed; the next model is computed.</summary>
    Aggregating,
    /// <summary>The model is there; its cohort evaluates it.</summary>
    Evaluating,
    /// <summary>How the run ends is known; the ledger has not answered yet.</summary>
    Ending,
    /// <summary>The run is over.</summary>
    Ended,
}

/// <summary>What a site said to a round besides an update.</summary>
public enum SiteAnswer
{
    /// <summary>It trains.</summary>
    Accepted,
    /// <summary>Its policy does not permit the round.</summary>
    Refused,
    /// <summary>It cannot deliver.</summary>
    Failed,
}

/// <summary>A site that dialled in since this coordinator was started.</summary>
/// <param name="Hello">Its first word on its last stream.</param>
/// <param name="Linked">Whether it is there.</param>
public sealed record SiteState(SiteHello Hello, bool Linked)
{
    /// <summary>Why it can take no part in the job, as it says; empty: it can.</summary>
    public string Unfit { get; init; } = "";

    /// <summary>It takes on nothing new.</summary>
    public bool Draining { get; init; }

    /// <summary>Asynchronous: the attempt whose model it is at work on.</summary>
    public RoundKey? WorksOn { get; init; }
}

/// <summary>The stages of a secure round.</summary>
/// <param name="Stage">The one that is open.</param>
/// <param name="Threshold">Answers without which no stage closes.</param>
/// <param name="Asked">Who answered the stage before.</param>
/// <param name="Answered">Who has answered this one.</param>
public sealed record SecureProgress(SecureStage Stage, int Threshold, ImmutableSortedSet<string> Asked, ImmutableSortedSet<string> Answered);

/// <summary>An attempt at a round, from the choice of its cohort to the new model.</summary>
public sealed record OpenRound(RoundKey Key, ModelVersion Base, Cohort Cohort)
{
    /// <summary>What counts, by site: a site cannot be in it twice.</summary>
    public ImmutableSortedDictionary<string, AcceptedUpdate> Updates { get; init; } = RoundCoordinatorState.NamesTo<AcceptedUpdate>();

    /// <summary>What sites said.</summary>
    public ImmutableSortedDictionary<string, (SiteAnswer Answer, string Reason)> Answers { get; init; } = RoundCoordinatorState.NamesTo<(SiteAnswer, string)>();

    /// <summary>The stages of a secure round; null: updates come unmasked.</summary>
    public SecureProgress? Secure { get; init; }

    /// <summary>The deadline has passed once and was put off.</summary>
    public bool Extended { get; init; }

    /// <summary>Asynchronous: how many updates there were when the deadline passed last.</summary>
    public int CountedAtDeadline { get; init; }

    /// <summary>When it was announced, or taken up after a restart.</summary>
    public TimeSpan OpenedAt { get; init; }
}

/// <summary>All a coordinator knows of a federated run.</summary>
public sealed record RoundCoordinatorState
{
    // Before Empty, which is made of it.
    internal static ImmutableSortedSet<string> NoNames { get; } = ImmutableSortedSet.Create<string>(StringComparer.Ordinal);

    /// <summary>Before anything was submitted.</summary>
    public static RoundCoordinatorState Empty { get; } = new();

    /// <summary>Where the run stands.</summary>
    public RoundPhase Phase { get; init; }

    /// <summary>The run.</summary>
    public FederatedRun? Run { get; init; }

    /// <summary>The newest global model.</summary>
    public ModelVersion Model { get; init; } = new(0, "");

    /// <summary>Asynchronous: older global models that sites may be at work on, by number.</summary>
    public ImmutableSortedDictionary<int, ModelVersion> OlderModels { get; init; } = ImmutableSortedDictionary<int, ModelVersion>.Empty;

    /// <summary>The last attempt that was opened.</summary>
    public RoundKey LastKey { get; init; }

    /// <summary>The attempt in hand.</summary>
    public OpenRound? Round { get; init; }

    /// <summary>Who was asked for the last round: they evaluate what came of it.</summary>
    public ImmutableArray<string> LastCohort { get; init; } = [];

    /// <summary>Who was asked for this round and did not deliver in an attempt that was given up.</summary>
    public ImmutableSortedSet<string> Missing { get; init; } = NoNames;

    /// <summary>Of these, who refused or failed.</summary>
    public ImmutableSortedSet<string> Declined { get; init; } = NoNames;

    /// <summary>Why the last attempt was given up.</summary>
    public string LastFailure { get; init; } = "";

    /// <summary>Asynchronous: updates that were accepted, as far back as one could still be delivered again.</summary>
    public ImmutableSortedDictionary<RoundKey, ImmutableSortedDictionary<string, string>> Used { get; init; } = ImmutableSortedDictionary<RoundKey, ImmutableSortedDictionary<string, string>>.Empty;

    /// <summary>Reservations that the ledger has not settled: null while the attempt goes on, then whether it is spent.</summary>
    public ImmutableSortedDictionary<RoundKey, bool?> Reservations { get; init; } = ImmutableSortedDictionary<RoundKey, bool?>.Empty;

    /// <summary>Epsilon spent when the last reservation was made; null: none is counted.</summary>
    public double? Epsilon { get; init; }

    /// <summary>Whether the ledger has granted the attempt in hand.</summary>
    public bool Granted { get; init; }

    /// <summary>Sites that were heard of since this coordinator was started.</summary>
    public ImmutableSortedDictionary<string, SiteState> Sites { get; init; } = NamesTo<SiteState>();

    /// <summary>Who is shut out, and why.</summary>
    public ImmutableSortedDictionary<string, string> Barred { get; init; } = NamesTo<string>();

    /// <summary>What the sites measured of the newest model.</summary>
    public ImmutableSortedDictionary<string, ModelEvaluated> Evaluations { get; init; } = NamesTo<ModelEvaluated>();

    /// <summary>Weighted mean training loss of the last round.</summary>
    public double? Loss { get; init; }

    /// <summary>Weighted mean loss on held-out data of the last evaluation.</summary>
    public double? EvalLoss { get; init; }

    /// <summary>Why the run is to end; empty: nobody wants that.</summary>
    public string StopReason { get; init; } = "";

    /// <summary>Between attempts.</summary>
    public bool BackingOff { get; init; }

    /// <summary>What people were last told the job waits for.</summary>
    public string SaidWaiting { get; init; } = "";

    /// <summary>How the run ends.</summary>
    public RunEvent? Outcome { get; init; }

    internal static ImmutableSortedDictionary<string, T> NamesTo<T>() => ImmutableSortedDictionary.Create<string, T>(StringComparer.Ordinal);
}
