using Sora.Protocol.Jobs;

namespace Sora.Federation.Policies;

/// <summary>
/// What a site lets a federated job do, as its <c>policy.yaml</c> says: immutable, validated once, and enforced in the site's own process.
/// What could leak data is refused unless a key allows it, so an empty policy allows nothing.
/// </summary>
public sealed record SitePolicy
{
    /// <summary>Names of the jobs that may run.</summary>
    [JobKey("names of the jobs that may run; * and ? stand for any letters")]
    public IReadOnlyList<string> Jobs { get; init; } = [];

    /// <summary>Fingerprints of the keys of coordinators that may ask.</summary>
    [JobKey("fingerprints of the keys of coordinators that may ask")]
    public IReadOnlyList<string> Coordinators { get; init; } = [];

    /// <summary>Data sets that may be trained on.</summary>
    [JobKey("data sets that may be trained on, by the names the site gave them; * and ? stand for any letters")]
    public IReadOnlyList<string> DataSets { get; init; } = [];

    /// <summary>Aggregation strategies.</summary>
    [JobKey("aggregation strategies a job may use")]
    public IReadOnlyList<string> Strategies { get; init; } = ["fedavg"];

    /// <summary>Types of messages that may leave the site.</summary>
    [JobKey("types of messages that may leave the site")]
    public IReadOnlyList<string> Messages { get; init; } = SiteMessages.WithoutData;

    /// <summary>Differential privacy.</summary>
    [JobKey("differential privacy")]
    public PrivacyRules Privacy { get; init; } = new();

    /// <summary>How much may be trained and sent.</summary>
    [JobKey("how much may be trained and sent")]
    public UpdateRules Updates { get; init; } = new();

    /// <summary>Secure aggregation.</summary>
    [JobKey("secure aggregation")]
    public SecureAggregationRules SecureAggregation { get; init; } = new();

    /// <summary>When jobs may run.</summary>
    [JobKey("when jobs may run")]
    public OpeningHoursRules OpeningHours { get; init; } = new();

    /// <summary>Measurements that may leave.</summary>
    [JobKey("measurements that may leave")]
    public MetricsRules Metrics { get; init; } = new();
}
