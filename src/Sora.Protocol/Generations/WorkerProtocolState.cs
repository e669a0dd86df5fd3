namespace Sora.Protocol.Generations;

/// <summary>Where a worker stands.</summary>
public enum WorkerPhase
{
    /// <summary>It has no work.</summary>
    Idle,
    /// <summary>It computes the canary of its assignment.</summary>
    Proving,
    /// <summary>It is at a step boundary, in no generation, and waits to be made a member of one.</summary>
    Waiting,
    /// <summary>It connects to its peers and takes up the state of the first step.</summary>
    Joining,
    /// <summary>It computes.</summary>
    Training,
    /// <summary>It has committed the last step and waits to be dismissed.</summary>
    Finished,
    /// <summary>It is over.</summary>
    Ended,
}

/// <summary>Everything a worker knows about its part in a run. Immutable; <see cref="WorkerProtocol.Decide"/> makes the next one.</summary>
/// <param name="Worker">This worker's id.</param>
public sealed record WorkerProtocolState(string Worker)
{
    /// <summary>Where it stands.</summary>
    public WorkerPhase Phase { get; init; }

    /// <summary>A stream to a coordinator is open.</summary>
    public bool Linked { get; init; }

    /// <summary>It was told to end and waits for others to take over.</summary>
    public bool Draining { get; init; }

    /// <summary>Run it works for; empty before an assignment.</summary>
    public string Run { get; init; } = "";

    /// <summary>Its canary; empty before it is computed.</summary>
    public string Canary { get; init; } = "";

    /// <summary>Elements of the flat gradient, once known.</summary>
    public long Parameters { get; init; }

    /// <summary>The last generation it took part in; 0 before one.</summary>
    public long Generation { get; init; }

    /// <summary>Its rank there.</summary>
    public int Rank { get; init; }

    /// <summary>Steps its weights have committed; -1 as long as it holds no state of the run.</summary>
    public long Step { get; init; } = -1;

    /// <summary>Hash of its weights after the last step; empty before that.</summary>
    public string WeightsSha256 { get; init; } = "";

    /// <summary>Exit code to leave with, once <see cref="WorkerPhase.Ended"/>.</summary>
    public int ExitCode { get; init; }
}
