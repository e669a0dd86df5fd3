namespace Sora.Protocol.Jobs;

/// <summary>Federated training: sites keep their data and send updates of the weights, round after round.</summary>
public sealed record FederatedSection
{
    /// <summary>Global models to make; 0: the job is not federated.</summary>
    [JobKey("global models to make; 0: the job is not federated")]
    public int Rounds { get; init; }

    /// <summary>How updates become the next model.</summary>
    [JobKey("how updates become the next model", Shorthand = "type")]
    public StrategySection Strategy { get; init; } = new();

    /// <summary>Optimizer updates a site makes in a round; 0: <see cref="LocalEpochs"/> counts.</summary>
    [JobKey("optimizer updates a site makes in a round; 0: local_epochs counts")]
    public int LocalSteps { get; init; }

    /// <summary>Passes over its own data a site makes in a round; null: 1 without <see cref="LocalSteps"/>, else 0.</summary>
    [JobKey("passes over its own data a site makes in a round; default 1 without local_steps")]
    public int? LocalEpochs { get; init; }

    /// <summary>Synchronous rounds, or a buffer of updates that may be stale.</summary>
    [JobKey("synchronous or asynchronous (FedBuff)")]
    public FederationMode Mode { get; init; }

    /// <summary>The share of the available sites whose updates a round wants.</summary>
    [JobKey("share of the available sites whose updates a round wants")]
    public double FractionTrain { get; init; } = 1;

    /// <summary>Below this no round begins.</summary>
    [JobKey("sites without which no round begins")]
    public int MinAvailableSites { get; init; } = 2;

    /// <summary>Updates without which no round closes; null: all that the round wants.</summary>
    [JobKey("updates without which no round closes; default all that the round wants")]
    public int? Quorum { get; init; }

    /// <summary>How many times as many sites are asked as updates are wanted.</summary>
    [JobKey("how many times as many sites are asked as updates are wanted")]
    public double OverSelection { get; init; } = 1;

    /// <summary>Seconds a round waits for its updates.</summary>
    [JobKey("seconds a round waits for its updates")]
    public double RoundDeadline { get; init; } = 3600;

    /// <summary>A round that was given up so often ends the job; 0: as often as it takes.</summary>
    [JobKey("a round given up so often ends the job; 0: as often as it takes")]
    public int MaxAttempts { get; init; } = 10;

    /// <summary>Sites evaluate the global model every so many rounds; 0: only the last one; null: 1, or 0 in asynchronous mode.</summary>
    [JobKey("sites evaluate the global model every so many rounds; 0: only the last one; default 1, asynchronous 0")]
    public int? EvalRounds { get; init; }

    /// <summary>Asynchronous: accepted updates that make a new global model.</summary>
    [JobKey("asynchronous: accepted updates that make a new global model")]
    public int BufferSize { get; init; } = 2;

    /// <summary>Asynchronous: global models an update may be behind.</summary>
    [JobKey("asynchronous: global models an update may be behind")]
    public int MaxStaleness { get; init; } = 10;

    /// <summary>The numbers an update travels in.</summary>
    [JobKey("numbers an update travels in: fp32, fp16 or int8")]
    public UpdateQuantization Quantization { get; init; }

    /// <summary>The coordinator sees sums of updates only.</summary>
    [JobKey("the coordinator sees sums of updates only", Shorthand = "enabled")]
    public SecureAggregationSection SecureAggregation { get; init; } = new();

    /// <summary>Differential privacy of the updates.</summary>
    [JobKey("differential privacy of the updates", Shorthand = "model")]
    public DifferentialPrivacySection DifferentialPrivacy { get; init; } = new();

    /// <summary>Sites that <c>sora federate</c> starts itself on this machine, each <c>NAME=INPUT</c>; several inputs are separated by <c>;</c>.</summary>
    [JobKey("sites to start on this machine, each NAME=INPUT, several inputs separated by ';'", Effect = JobEffect.None)]
    public IReadOnlyList<string> Sites { get; init; } = [];

    /// <summary>When all rounds are done: train each of <see cref="Sites"/> alone as long, and compare.</summary>
    [JobKey("at the end train each of these sites alone as long, and compare", Effect = JobEffect.None)]
    public bool CompareLocal { get; init; }

    /// <summary>Whether the job is federated.</summary>
    public bool IsOn => Rounds != 0;
}

/// <summary>A strategy with the parameters it understands; null: the strategy's default.</summary>
public sealed record StrategySection
{
    /// <summary>Its name.</summary>
    [JobKey("fedavg, fedavgm, fedprox, fedadam, fedyogi, fedadagrad, scaffold, diloco, fedbuff, median, trimmed_mean, krum or multi_krum")]
    public string Type { get; init; } = "fedavg";

    /// <summary>Factor of the server's step.</summary>
    [JobKey("factor of the server's step")]
    public double? ServerLearningRate { get; init; }

    /// <summary>Momentum of fedavgm and diloco.</summary>
    [JobKey("momentum of fedavgm and diloco")]
    public double? ServerMomentum { get; init; }

    /// <summary>Pull towards the global model, of fedprox.</summary>
    [JobKey("pull towards the global model, of fedprox")]
    public double? ProximalMu { get; init; }

    /// <summary>First decay rate of fedadam, fedyogi and fedadagrad.</summary>
    [JobKey("first decay rate of fedadam, fedyogi and fedadagrad", Name = "beta_1")]
    public double? Beta1 { get; init; }

    /// <summary>Second decay rate of fedadam and fedyogi.</summary>
    [JobKey("second decay rate of fedadam and fedyogi", Name = "beta_2")]
    public double? Beta2 { get; init; }

    /// <summary>Added to the denominator by fedadam, fedyogi and fedadagrad.</summary>
    [JobKey("added to the denominator by fedadam, fedyogi and fedadagrad")]
    public double? Tau { get; init; }

    /// <summary>How fast stale updates lose weight, of fedbuff.</summary>
    [JobKey("how fast stale updates lose weight, of fedbuff")]
    public double? StalenessExponent { get; init; }

    /// <summary>Share cut off at either end, of trimmed_mean.</summary>
    [JobKey("share cut off at either end, of trimmed_mean")]
    public double? TrimFraction { get; init; }

    /// <summary>Sites that may lie, of krum and multi_krum.</summary>
    [JobKey("sites that may lie, of krum and multi_krum")]
    public double? ByzantineSites { get; init; }

    /// <summary>Updates that count, of multi_krum.</summary>
    [JobKey("updates that count, of multi_krum")]
    public double? SelectedSites { get; init; }

    /// <summary>All sites of the job, of scaffold; 0: all take part in each round.</summary>
    [JobKey("all sites of the job, of scaffold; 0: all take part in each round")]
    public double? TotalSites { get; init; }

    /// <summary>Longer updates are scaled down to this norm.</summary>
    [JobKey("longer updates are scaled down to this norm; not of scaffold")]
    public double? ClippingNorm { get; init; }

    /// <summary>Updates longer than so many times the median are left out.</summary>
    [JobKey("updates longer than so many times the median are left out; not of scaffold")]
    public double? MaxNormRatio { get; init; }

    /// <summary>Updates whose cosine with the median update is smaller are left out.</summary>
    [JobKey("updates whose cosine with the median update is smaller are left out; not of scaffold")]
    public double? MinCosine { get; init; }
}

/// <summary>Secure aggregation.</summary>
public sealed record SecureAggregationSection
{
    /// <summary>Whether updates are masked.</summary>
    [JobKey("mask updates, so that the coordinator sees sums only")]
    public bool Enabled { get; init; }

    /// <summary>The share of the cohort that must stay to the end.</summary>
    [JobKey("share of the cohort that must stay to the end")]
    public double Threshold { get; init; } = 2.0 / 3;

    /// <summary>Seconds a stage without training waits for its answers.</summary>
    [JobKey("seconds a stage without training waits for its answers")]
    public double StageDeadline { get; init; } = 60;
}

/// <summary>Differential privacy.</summary>
public sealed record DifferentialPrivacySection
{
    /// <summary>Who adds the noise; null: nobody.</summary>
    [JobKey("who adds the noise, central or local; default nobody")]
    public PrivacyModel? Model { get; init; }

    /// <summary>Standard deviation of the noise in clipping norms.</summary>
    [JobKey("standard deviation of the noise in clipping norms")]
    public double NoiseMultiplier { get; init; } = 1;

    /// <summary>Longer updates are scaled down to this norm.</summary>
    [JobKey("longer updates are scaled down to this norm")]
    public double ClippingNorm { get; init; } = 1;

    /// <summary>What may be spent in all.</summary>
    [JobKey("epsilon that may be spent in all")]
    public double TargetEpsilon { get; init; } = 8;

    /// <summary>The delta that epsilon holds for.</summary>
    [JobKey("the delta that epsilon holds for")]
    public double Delta { get; init; } = 1e-5;
}
