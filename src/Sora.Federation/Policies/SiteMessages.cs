using Sora.Federation.Aggregation.Strategies;

namespace Sora.Federation.Policies;

/// <summary>The types of messages a site can send; a type that is not here never leaves.</summary>
public static class SiteMessages
{
    /// <summary>The site is there and proves who it is.</summary>
    public const string Join = "join";
    /// <summary>The site goes.</summary>
    public const string Leave = "leave";
    /// <summary>The site is alive.</summary>
    public const string Heartbeat = "heartbeat";
    /// <summary>The site does not take part; names the broken rules.</summary>
    public const string Refusal = "refusal";
    /// <summary>Public keys of secure aggregation.</summary>
    public const string Keys = "keys";
    /// <summary>Encrypted shares for other sites.</summary>
    public const string Shares = "shares";
    /// <summary>An update under masks that only the sum takes off.</summary>
    public const string MaskedUpdate = "masked_update";
    /// <summary>The signed set of survivors.</summary>
    public const string Consistency = "consistency";
    /// <summary>The shares that unmask the sum, one a peer.</summary>
    public const string Unmask = "unmask";
    /// <summary>An update anybody with the message can read.</summary>
    public const string Update = "update";
    /// <summary>Measurements.</summary>
    public const string Metrics = "metrics";

    /// <summary>Those from which nobody learns about one site's data.</summary>
    public static IReadOnlyList<string> WithoutData { get; } = [Join, Leave, Heartbeat, Refusal, Keys, Shares, MaskedUpdate, Consistency, Unmask];

    /// <summary>All.</summary>
    public static IReadOnlyList<string> All { get; } = [.. WithoutData, Update, Metrics];
}

/// <summary>The names of aggregation strategies, as job and policy files write them.</summary>
public static class StrategyNames
{
    /// <summary>All.</summary>
    public static IReadOnlyList<string> All => StrategyCatalog.Names;
}
