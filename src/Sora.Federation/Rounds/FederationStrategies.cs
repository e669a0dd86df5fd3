using Sora.Federation.Aggregation.Strategies;

namespace Sora.Federation.Rounds;

/// <summary>The names a job may give for its strategy, and the parameters each understands: those of <see cref="StrategyCatalog"/>.</summary>
public static class FederationStrategies
{
    /// <summary>Every strategy with its parameters.</summary>
    public static IReadOnlyDictionary<string, IReadOnlyList<StrategyParameter>> All { get; } =
        new SortedDictionary<string, IReadOnlyList<StrategyParameter>>(StrategyCatalog.Names.ToDictionary(name => name, StrategyCatalog.ParametersOf), StringComparer.Ordinal);

    /// <summary>Strategies that look at single updates, which secure aggregation hides.</summary>
    public static IReadOnlySet<string> NeedingSingleUpdates => StrategyCatalog.NeedingSingleUpdates;
}
