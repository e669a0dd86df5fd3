namespace Sora.Federation.Policies;

/// <summary>
/// What a job asks of a site in a round. The site fills it in from the wire, and what it can compute itself (above all epsilon) from its own
/// computation, never from what the coordinator says it is.
/// </summary>
public sealed record RoundRequest
{
    /// <summary>The job's name.</summary>
    public required string Job { get; init; }

    /// <summary>Fingerprint of the key the coordinator proved to have.</summary>
    public required string Coordinator { get; init; }

    /// <summary>The round, from 1.</summary>
    public required int Round { get; init; }

    /// <summary>Rounds the job is to have.</summary>
    public required int Rounds { get; init; }

    /// <summary>The data sets to train on.</summary>
    public required IReadOnlyList<string> DataSets { get; init; }

    /// <summary>The aggregation strategy, one of <see cref="StrategyNames"/>.</summary>
    public required string Strategy { get; init; }

    /// <summary>What an update holds.</summary>
    public required UpdateContent Update { get; init; }

    /// <summary>Optimizer steps in the round; null: not stated.</summary>
    public int? LocalSteps { get; init; }

    /// <summary>Passes over the data in the round; null: not stated.</summary>
    public double? LocalEpochs { get; init; }

    /// <summary>Norm that updates are clipped to; null: they are not.</summary>
    public double? ClippingNorm { get; init; }

    /// <summary>Differential privacy; null: none.</summary>
    public PrivacyRequest? Privacy { get; init; }

    /// <summary>Secure aggregation; null: none.</summary>
    public SecureAggregationRequest? SecureAggregation { get; init; }

    /// <summary>The types of messages the site is to send, of <see cref="SiteMessages"/>.</summary>
    public required IReadOnlyList<string> Messages { get; init; }

    /// <summary>The metrics the site is to send.</summary>
    public IReadOnlyList<MetricRequest> Metrics { get; init; } = [];
}

/// <summary>What an update holds.</summary>
public enum UpdateContent
{
    /// <summary>Adapter weights (LoRA) only.</summary>
    Adapter,
    /// <summary>Weights of the model itself.</summary>
    Full,
}

/// <summary>Who adds the noise of differential privacy.</summary>
public enum NoiseSource
{
    /// <summary>The site adds all of it, or its share of it under secure aggregation.</summary>
    Site,
    /// <summary>The coordinator adds it to the sum, after it has seen what it adds it to.</summary>
    Coordinator,
}

/// <summary>The differential privacy of a job.</summary>
/// <param name="Epsilon">What the whole job will have spent after its last round, by the site's own accountant.</param>
/// <param name="Delta">The delta that epsilon holds for.</param>
/// <param name="NoiseMultiplier">Standard deviation of the noise as a multiple of the clipping norm.</param>
/// <param name="Noise">Who adds it.</param>
public sealed record PrivacyRequest(double Epsilon, double Delta, double NoiseMultiplier, NoiseSource Noise);

/// <summary>The secure aggregation of a round.</summary>
/// <param name="Cohort">Sites the round begins with.</param>
/// <param name="Threshold">Sites that must agree to unmask the sum.</param>
public sealed record SecureAggregationRequest(int Cohort, int Threshold);

/// <summary>A metric the site is to send.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Digits">Significant digits asked for.</param>
/// <param name="Examples">Examples it is taken over.</param>
public sealed record MetricRequest(string Name, int Digits, int Examples);

/// <summary>What the site knows of the past, from its own ledger.</summary>
/// <param name="EpsilonOfJob">Epsilon this job has spent here.</param>
/// <param name="EpsilonOfOtherJobs">Epsilon all other jobs have spent here, summed.</param>
/// <param name="RoundsOfJob">Rounds of this job the site has taken part in.</param>
public sealed record SiteState(double EpsilonOfJob, double EpsilonOfOtherJobs, int RoundsOfJob)
{
    /// <summary>A site that has taken part in nothing.</summary>
    public static SiteState Fresh { get; } = new(0, 0, 0);
}
