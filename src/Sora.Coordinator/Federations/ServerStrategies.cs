using Sora.Federation.Aggregation.Robust;
using Sora.Federation.Aggregation.Strategies;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Federations;

/// <summary>What the federated section of a job asks of the server, in terms of <see cref="ServerStrategy"/>.</summary>
internal static class ServerStrategies
{
    /// <summary>Why a coordinator cannot carry out such a run; null: it can.</summary>
    public static string? Objection(FederationSettings settings) => settings switch
    {
        { Strategy.Name: "scaffold" } => "scaffold sends control variates both ways, which this release does not carry between coordinator and sites. Use fedavg, fedprox or one of the adaptive strategies.",
        { Strategy: { Name: "fedbuff", Parameters: var parameters } } when parameters.TryGetValue("staleness_exponent", out var exponent) && exponent != 0.5 =>
            "stale updates weigh 1 / sqrt(1 + staleness) in this release. Leave staleness_exponent out.",
        { SecureAggregation: not null } => "this release does not carry the messages of secure aggregation between coordinator and sites. Leave secure_aggregation out.",
        { DifferentialPrivacy.Model: PrivacyModel.Central } when FederationStrategies.NeedingSingleUpdates.Contains(settings.Strategy.Name) =>
            $"the noise of central differential privacy is made for sums, and {settings.Strategy.Name} is none. Use a strategy that takes the mean.",
        _ => null,
    };

    /// <summary>The strategy of a run.</summary>
    public static ServerStrategy Of(FederationSettings settings)
    {
        var strategy = Named(settings.Strategy);
        if (settings.DifferentialPrivacy is not { Model: PrivacyModel.Central } privacy)
            return strategy;
        // What a site claims to have trained on must not let it move the sum by more than the noise is made for.
        return strategy with
        {
            Screens = [new NormClipping(privacy.ClippingNorm)],
            Weighting = strategy.Weighting == Weighting.Examples ? Weighting.Uniform : strategy.Weighting,
        };
    }

    private static ServerStrategy Named(StrategySettings strategy)
    {
        var known = FederationStrategies.All[strategy.Name];
        double Of(string name) => strategy.Parameters.TryGetValue(name, out var value) ? value : known.First(parameter => parameter.Name == name).Default;
        AdaptiveOptimizer Adaptive(SecondMoment moment) =>
            new(moment, Of("server_learning_rate"), Of("beta_1"), moment == SecondMoment.Adagrad ? 0 : Of("beta_2"), Of("tau"));

        var name = strategy.Name;
        return name switch
        {
            "fedavg" or "fedprox" => new(name, new GradientDescent(Of("server_learning_rate"))),
            "fedavgm" => new(name, new GradientDescent(Of("server_learning_rate"), Of("server_momentum"))),
            "diloco" => new(name, new GradientDescent(Of("server_learning_rate"), Of("server_momentum"), Nesterov: true)),
            "fedadam" => new(name, Adaptive(SecondMoment.Adam)),
            "fedyogi" => new(name, Adaptive(SecondMoment.Yogi)),
            "fedadagrad" => new(name, Adaptive(SecondMoment.Adagrad)),
            "fedbuff" => new(name, new GradientDescent(Of("server_learning_rate"))) { Weighting = Weighting.Staleness },
            "median" => new(name, new GradientDescent()) { Rule = CoordinateRule.Median, Weighting = Weighting.Uniform },
            "trimmed_mean" => new(name, new GradientDescent()) { Rule = CoordinateRule.TrimmedMean(Of("trim_fraction")), Weighting = Weighting.Uniform },
            "krum" => new(name, new GradientDescent()) { Screens = [new Krum((int)Of("byzantine_sites"))], Weighting = Weighting.Uniform },
            "multi_krum" => new(name, new GradientDescent()) { Screens = [new Krum((int)Of("byzantine_sites"), (int)Of("selected_sites"))], Weighting = Weighting.Uniform },
            _ => throw new SoraException($"There is no strategy '{name}' at this coordinator.", ExitCode.Usage),
        };
    }
}
