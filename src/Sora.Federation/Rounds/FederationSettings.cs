using System.Collections.Immutable;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Rounds;

/// <summary>The federated section of a job, with every default filled in: immutable and validated once (<see cref="FederationValidation"/>).</summary>
public sealed record FederationSettings
{
    /// <summary><c>mode</c>: synchronous or asynchronous.</summary>
    public FederationMode Mode { get; init; } = FederationMode.Synchronous;

    /// <summary><c>rounds</c>: global models to make.</summary>
    public int Rounds { get; init; } = 10;

    /// <summary><c>local_steps</c>: optimizer updates a site makes in a round; 0: <see cref="LocalEpochs"/> counts.</summary>
    public int LocalSteps { get; init; }

    /// <summary><c>local_epochs</c>: passes over its own data a site makes in a round; 0: <see cref="LocalSteps"/> counts.</summary>
    public int LocalEpochs { get; init; } = 1;

    /// <summary><c>fraction_train</c>: the share of the available sites whose updates a round wants.</summary>
    public double FractionTrain { get; init; } = 1;

    /// <summary><c>min_available_sites</c>: below this no round begins; the job waits.</summary>
    public int MinAvailableSites { get; init; } = 2;

    /// <summary><c>quorum</c>: updates without which no round closes; null: all that the round wants, so that the result does not depend on who is fast.</summary>
    public int? Quorum { get; init; }

    /// <summary><c>over_selection</c>: how many times as many sites are asked as updates are wanted, because some will drop out; above 1 the first ones count.</summary>
    public double OverSelection { get; init; } = 1;

    /// <summary><c>round_deadline</c>: seconds a round waits for its updates.</summary>
    public double RoundDeadline { get; init; } = 3600;

    /// <summary><c>max_attempts</c>: a round that was given up so often ends the job; 0: as often as it takes.</summary>
    public int MaxAttempts { get; init; } = 10;

    /// <summary><c>eval_rounds</c>: the cohort evaluates the new global model every so many rounds; 0: only the last one.</summary>
    public int EvalRounds { get; init; } = 1;

    /// <summary><c>buffer_size</c>: asynchronous: accepted updates that make a new global model.</summary>
    public int BufferSize { get; init; } = 2;

    /// <summary><c>max_staleness</c>: asynchronous: global models an update may be behind.</summary>
    public int MaxStaleness { get; init; } = 10;

    /// <summary><c>strategy</c>: how updates become the next model.</summary>
    public StrategySettings Strategy { get; init; } = new("fedavg");

    /// <summary><c>quantization</c>: the numbers an update travels in.</summary>
    public UpdateQuantization Quantization { get; init; } = UpdateQuantization.Fp32;

    /// <summary><c>secure_aggregation</c>: null: the coordinator sees every update.</summary>
    public SecureAggregationSettings? SecureAggregation { get; init; }

    /// <summary><c>differential_privacy</c>: null: none.</summary>
    public DifferentialPrivacySettings? DifferentialPrivacy { get; init; }
}

/// <summary>A strategy and its parameters by name, as <see cref="FederationStrategies"/> lists them.</summary>
public sealed record StrategySettings(string Name)
{
    /// <summary>What differs from the strategy's defaults.</summary>
    public ImmutableSortedDictionary<string, double> Parameters { get; init; } = ImmutableSortedDictionary<string, double>.Empty.WithComparers(StringComparer.Ordinal);

    /// <inheritdoc/>
    public bool Equals(StrategySettings? other) => other is not null && Name == other.Name && Parameters.SequenceEqual(other.Parameters);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Name, Parameters.Count);
}

/// <summary>Secure aggregation: the coordinator sees sums only.</summary>
/// <param name="Threshold"><c>threshold</c>: the share of the cohort that must stay to the end.</param>
/// <param name="StageDeadline"><c>stage_deadline</c>: seconds a stage without training waits for its answers.</param>
public sealed record SecureAggregationSettings(double Threshold = 2.0 / 3, double StageDeadline = 60);

/// <summary>Differential privacy of the updates.</summary>
/// <param name="Model"><c>model</c>: central or local.</param>
/// <param name="NoiseMultiplier"><c>noise_multiplier</c>: standard deviation of the noise in clipping norms.</param>
/// <param name="ClippingNorm"><c>clipping_norm</c>: longer updates are scaled down to it.</param>
/// <param name="TargetEpsilon"><c>target_epsilon</c>: what may be spent in all.</param>
/// <param name="Delta"><c>delta</c>.</param>
public sealed record DifferentialPrivacySettings(
    PrivacyModel Model = PrivacyModel.Central, double NoiseMultiplier = 1, double ClippingNorm = 1, double TargetEpsilon = 8, double Delta = 1e-5);
