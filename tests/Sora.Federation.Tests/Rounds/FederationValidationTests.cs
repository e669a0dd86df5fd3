using System.Collections.Immutable;
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
        var errors = FederationValidation.Check(new FederationSettings { SecureAggregation = new SecureAggregationSettings(), Strategy = new StrategySettings(strategy) });

        Assert.Contains(strategy, Assert.Single(errors).Message);
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
}
