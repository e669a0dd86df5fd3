using System.Collections.Immutable;

namespace Sora.Federation.Rounds;

/// <summary>What a site is at.</summary>
public enum RoundSitePhase
{
    /// <summary>Nothing.</summary>
    Idle,
    /// <summary>Its policy looks at a round.</summary>
    Deciding,
    /// <summary>It trains.</summary>
    Training,
    /// <summary>It holds its update; the stage to send it has not come.</summary>
    Trained,
    /// <summary>It offers and sends its update.</summary>
    Delivering,
    /// <summary>Its update counts.</summary>
    Delivered,
    /// <summary>Its policy forbids the round, or it cannot deliver.</summary>
    Declined,
    /// <summary>Its part is over.</summary>
    Left,
}

/// <summary>All a site knows of a federated run.</summary>
/// <param name="Run">The run.</param>
/// <param name="Site">Its registered name.</param>
public sealed record RoundSiteState(string Run, string Site)
{
    /// <summary>What it is at.</summary>
    public RoundSitePhase Phase { get; init; }

    /// <summary>The attempt it was last asked for by this process.</summary>
    public RoundAnnounced? Round { get; init; }

    /// <summary>The highest attempt it took part in, in any process.</summary>
    public RoundKey Taken { get; init; }

    /// <summary>The highest attempt that is over for it.</summary>
    public RoundKey Over { get; init; }

    /// <summary>Its update of <see cref="Taken"/>.</summary>
    public UpdateOffer? Ready { get; init; }

    /// <summary>Why it declined.</summary>
    public RoundRefused? Refusal { get; init; }

    /// <summary>Why it cannot deliver.</summary>
    public string Failure { get; init; } = "";

    /// <summary>The participants it was told for each stage of a secure attempt it has answered.</summary>
    public ImmutableSortedDictionary<SecureStage, ImmutableArray<string>> Stages { get; init; } = ImmutableSortedDictionary<SecureStage, ImmutableArray<string>>.Empty;

    /// <summary>What it last measured.</summary>
    public ModelEvaluated? Evaluation { get; init; }

    /// <summary>The global model it measures; 0: none.</summary>
    public int Evaluating { get; init; }

    /// <summary>It takes on nothing new.</summary>
    public bool Draining { get; init; }
}
