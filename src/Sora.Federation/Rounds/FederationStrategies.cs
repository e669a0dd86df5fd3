namespace Sora.Federation.Rounds;

/// <summary>A parameter of a strategy.</summary>
/// <param name="Name">Its key.</param>
/// <param name="Default">Its value when the user says nothing.</param>
/// <param name="Least">The smallest value allowed.</param>
/// <param name="Most">The largest value allowed.</param>
public sealed record StrategyParameter(string Name, double Default, double Least, double Most);

/// <summary>The names a job may give for its strategy, and the parameters each understands.</summary>
public static class FederationStrategies
{
    private static readonly StrategyParameter ServerRate = new("server_learning_rate", 1, double.Epsilon, 1000);
    private static readonly StrategyParameter AdaptiveRate = new("server_learning_rate", 0.1, double.Epsilon, 1000);
    private static readonly StrategyParameter Beta1 = new("beta_1", 0.9, 0, 0.999999);
    private static readonly StrategyParameter Beta2 = new("beta_2", 0.99, 0, 0.999999);
    private static readonly StrategyParameter Tau = new("tau", 1e-3, double.Epsilon, 1);

    /// <summary>Every strategy with its parameters.</summary>
    public static IReadOnlyDictionary<string, IReadOnlyList<StrategyParameter>> All { get; } = new SortedDictionary<string, IReadOnlyList<StrategyParameter>>(StringComparer.Ordinal)
    {
        ["fedavg"] = [ServerRate],
        ["fedavgm"] = [ServerRate, new("server_momentum", 0.9, 0, 0.999999)],
        ["fedprox"] = [ServerRate, new("proximal_mu", 0.01, 0, 1000)],
        ["fedadam"] = [AdaptiveRate, Beta1, Beta2, Tau],
        ["fedyogi"] = [AdaptiveRate, Beta1, Beta2, Tau],
        ["fedadagrad"] = [AdaptiveRate, Beta1, Tau],
        ["scaffold"] = [ServerRate],
        ["diloco"] = [new("server_learning_rate", 0.7, double.Epsilon, 1000), new("server_momentum", 0.9, 0, 0.999999)],
        ["fedbuff"] = [ServerRate, new("staleness_exponent", 0.5, 0, 10)],
        ["median"] = [],
        ["trimmed_mean"] = [new("trim_fraction", 0.1, 0, 0.499999)],
        ["krum"] = [new("byzantine_sites", 1, 0, 1000)],
        ["multi_krum"] = [new("byzantine_sites", 1, 0, 1000), new("selected_sites", 1, 1, 100_000)],
    };

    /// <summary>Strategies that look at single updates, which secure aggregation hides.</summary>
    public static IReadOnlySet<string> NeedingSingleUpdates { get; } = new SortedSet<string>(["median", "trimmed_mean", "krum", "multi_krum"], StringComparer.Ordinal);
}
