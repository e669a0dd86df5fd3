using System.Collections.Immutable;
using System.Globalization;
using System.Reflection;
using System.Text.Json;
using Sora.Federation.Aggregation.Strategies;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Rounds;

public sealed class FederationValidationTests
{
    [Fact]
    public void The_defaults_are_fine() => Assert.Empty(FederationValidation.Check(new FederationSettings()));

    [Fact]
    public void All_errors_are_told_at_once()
    {
        var settings = new FederationSettings
        {
            Rounds = 0,
            FractionTrain = 1.5,
            Quorum = 5,
            OverSelection = 0.5,
            RoundDeadline = double.NaN,
            Strategy = new StrategySettings("fedavgg"),
            DifferentialPrivacy = new DifferentialPrivacySettings(NoiseMultiplier: 0, Delta: 1),
        };

        var errors = Assert.Throws<JobErrors>(() => FederationValidation.Require(settings));

        Assert.Equal(ExitCode.Usage, errors.ExitCode);
        Assert.Equal(
            ["rounds", "fraction_train", "quorum", "over_selection", "round_deadline", "strategy", "differential_privacy.noise_multiplier", "differential_privacy.delta"],
            errors.Errors.Select(error => error.Key!["federated.".Length..]));
        Assert.Contains("Did you mean 'fedavg'?", errors.Message);
    }

    [Fact]
    public void A_parameter_of_another_strategy_is_refused_with_the_ones_there_are()
    {
        var strategy = new StrategySettings("fedprox") { Parameters = ImmutableSortedDictionary<string, double>.Empty.Add("proximal_nu", 0.1).Add("server_learning_rate", 0) };

        var errors = FederationValidation.Check(new FederationSettings { Strategy = strategy });

        Assert.Equal(2, errors.Count);
        Assert.Contains("Did you mean 'proximal_mu'?", errors[0].Message);
        Assert.Contains("more than 0", errors[1].Message);
    }

    [Theory]
    [InlineData("krum")]
    [InlineData("median")]
    public void Secure_aggregation_hides_what_robust_strategies_compare(string strategy)
    {
        var errors = FederationValidation.Check(new FederationSettings { MinAvailableSites = 5, SecureAggregation = new SecureAggregationSettings(), Strategy = new StrategySettings(strategy) });

        Assert.Contains(strategy, Assert.Single(errors).Message);
    }

    [Fact]
    public void Secure_aggregation_hides_what_screens_look_at() =>
        Assert.Equal("federated.strategy.clipping_norm", Assert.Single(FederationValidation.Check(new FederationSettings { SecureAggregation = new SecureAggregationSettings(), Strategy = With("fedadam", "clipping_norm", 1) })).Key);

    [Fact]
    public void Krum_needs_as_many_updates_as_its_proof()
    {
        var strategy = With("krum", "byzantine_sites", 2);

        Assert.Empty(FederationValidation.Check(new FederationSettings { MinAvailableSites = 7, Strategy = strategy }));
        Assert.Contains("needs 7 updates against 2", Assert.Single(FederationValidation.Check(new FederationSettings { MinAvailableSites = 7, Quorum = 6, Strategy = strategy })).Message);
    }

    [Fact]
    public void Scaffold_must_know_how_many_sites_there_are_when_not_all_take_part()
    {
        var some = new FederationSettings { FractionTrain = 0.5, Strategy = new StrategySettings("scaffold") };

        Assert.Equal("federated.strategy.total_sites", Assert.Single(FederationValidation.Check(some)).Key);
        Assert.Empty(FederationValidation.Check(some with { FractionTrain = 1 }));
        Assert.Empty(FederationValidation.Check(some with { Strategy = With("scaffold", "total_sites", 9) }));
    }

    /// <summary>A job's key that the catalog does not know, or one of the catalog that a job cannot say, would be found by nobody else.</summary>
    [Fact]
    public void Jobs_can_say_every_parameter_there_is_and_no_other()
    {
        var inCatalog = StrategyCatalog.Names.SelectMany(StrategyCatalog.ParametersOf).Select(parameter => parameter.Name).Distinct().Order();
        var inJobs = typeof(StrategySection).GetProperties().Where(property => property.PropertyType == typeof(double?))
            .Select(property => property.GetCustomAttribute<JobKeyAttribute>()!.Name ?? JsonNamingPolicy.SnakeCaseLower.ConvertName(property.Name)).Order();

        Assert.Equal(inCatalog, inJobs);
        foreach (var name in StrategyCatalog.Names)
            foreach (var parameter in StrategyCatalog.ParametersOf(name))
                Assert.Equal(parameter.Least > 0 ? 1 : parameter.Least, Loaded(name, parameter).Strategy.Parameters[parameter.Name]);

        static FederationSettings Loaded(string name, StrategyParameter parameter)
        {
            var text = string.Create(CultureInfo.InvariantCulture, $$"""
                name: f
                data: {train: [a.txt]}
                federated:
                  rounds: 2
                  mode: {{(name == "fedbuff" ? "asynchronous" : "synchronous")}}
                  min_available_sites: 9
                  strategy: {type: {{name}}, {{parameter.Name}}: {{(parameter.Least > 0 ? 1 : parameter.Least)}}}
                """);
            return FederatedJob.Settings(JobLoader.LoadText(text, "job.yaml", new JobOverrides()).Job);
        }
    }

    [Fact]
    public void Asynchronous_rounds_know_no_cohort_no_quorum_and_no_masks()
    {
        var settings = new FederationSettings { Mode = FederationMode.Asynchronous, FractionTrain = 0.5, Quorum = 2, OverSelection = 1.3, SecureAggregation = new SecureAggregationSettings() };

        Assert.Equal(
            ["fraction_train", "over_selection", "quorum", "eval_rounds", "strategy", "secure_aggregation"],
            FederationValidation.Check(settings).Select(error => error.Key!["federated.".Length..]));
    }

    [Fact]
    public void Settings_with_the_same_values_are_equal()
    {
        static FederationSettings Written() => new() { Strategy = new StrategySettings("fedprox") { Parameters = ImmutableSortedDictionary<string, double>.Empty.Add("proximal_mu", 0.1) } };

        Assert.Equal(Written(), Written());
        Assert.NotEqual(Written(), Written() with { Strategy = new StrategySettings("fedprox") });
    }

    private static StrategySettings With(string strategy, string parameter, double value) =>
        new(strategy) { Parameters = ImmutableSortedDictionary<string, double>.Empty.WithComparers(StringComparer.Ordinal).Add(parameter, value) };
}
