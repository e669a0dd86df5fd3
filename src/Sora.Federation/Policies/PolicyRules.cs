using System.Globalization;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Policies;

/// <summary>What a site demands of differential privacy.</summary>
public sealed record PrivacyRules
{
    /// <summary>Whether a job must have it.</summary>
    [JobKey("whether a job must be differentially private")]
    public bool Required { get; init; } = true;

    /// <summary>The most epsilon a whole job may spend.</summary>
    [JobKey("the most epsilon a whole job may spend")]
    public double MaxEpsilonPerJob { get; init; }

    /// <summary>The most epsilon all jobs together may spend.</summary>
    [JobKey("the most epsilon all jobs together may spend")]
    public double MaxEpsilonTotal { get; init; }

    /// <summary>The largest delta of a job.</summary>
    [JobKey("the largest delta of a job")]
    public double MaxDelta { get; init; }

    /// <summary>The least noise, as a multiple of the clipping norm.</summary>
    [JobKey("the least noise, as a multiple of the clipping norm; 0: epsilon alone decides")]
    public double MinNoiseMultiplier { get; init; }

    /// <summary>Whether updates must be clipped.</summary>
    [JobKey("whether updates must be clipped")]
    public bool RequireClipping { get; init; } = true;

    /// <summary>The largest clipping norm; null: any.</summary>
    [JobKey("the largest clipping norm; null: any")]
    public double? MaxClippingNorm { get; init; }

    /// <summary>Whether noise counts that the coordinator adds, which the site cannot check.</summary>
    [JobKey("whether noise counts that the coordinator adds, which the site cannot check")]
    public bool TrustCoordinatorNoise { get; init; }
}

/// <summary>How much a site trains and sends for a job.</summary>
public sealed record UpdateRules
{
    /// <summary>Whether only adapters (LoRA) may be sent.</summary>
    [JobKey("whether only adapters (LoRA) may be sent, never the whole model")]
    public bool AdaptersOnly { get; init; } = true;

    /// <summary>The most rounds of a job the site takes part in.</summary>
    [JobKey("the most rounds of a job the site takes part in")]
    public int MaxRounds { get; init; }

    /// <summary>The most optimizer steps in a round; null: any.</summary>
    [JobKey("the most optimizer steps in a round; null: any")]
    public int? MaxLocalSteps { get; init; }

    /// <summary>The most passes over the data in a round; null: any.</summary>
    [JobKey("the most passes over the data in a round; null: any")]
    public double? MaxLocalEpochs { get; init; }
}

/// <summary>What a site demands of secure aggregation.</summary>
public sealed record SecureAggregationRules
{
    /// <summary>Whether updates may leave only masked.</summary>
    [JobKey("whether updates may leave only masked, so that nobody sees one site's")]
    public bool Required { get; init; } = true;

    /// <summary>The fewest sites whose sum is revealed.</summary>
    [JobKey("the fewest sites a round may begin with")]
    public int MinCohort { get; init; } = 3;

    /// <summary>The fewest sites that can unmask a sum.</summary>
    [JobKey("the fewest sites that must agree to unmask a sum")]
    public int MinThreshold { get; init; } = 2;
}

/// <summary>When jobs may run.</summary>
public sealed record OpeningHoursRules
{
    /// <summary>The zone the times are in.</summary>
    [JobKey("time zone of the times, such as Europe/Berlin or UTC")]
    public string TimeZone { get; init; } = "";

    /// <summary>The times; empty: always.</summary>
    [JobKey("times such as 'Mon-Fri 20:00-06:00' or 'Sat,Sun 00:00-24:00'; empty: always")]
    public IReadOnlyList<string> Open { get; init; } = [];
}

/// <summary>Measurements that may leave, and how coarse.</summary>
public sealed record MetricsRules
{
    /// <summary>Names of the metrics.</summary>
    [JobKey("metrics that may leave; * and ? stand for any letters")]
    public IReadOnlyList<string> Allowed { get; init; } = [];

    /// <summary>Significant digits they are rounded to.</summary>
    [JobKey("significant digits metrics are rounded to at most")]
    public int MaxDigits { get; init; } = 2;

    /// <summary>The fewest examples a metric is taken over.</summary>
    [JobKey("the fewest examples a metric is taken over")]
    public int MinExamples { get; init; } = 100;

    /// <summary>A measurement as coarse as it may leave. Not a number stays what it is.</summary>
    public double Coarsen(double value) =>
        double.IsFinite(value) ? double.Parse(value.ToString("E" + (MaxDigits - 1), CultureInfo.InvariantCulture), CultureInfo.InvariantCulture) : value;
}
