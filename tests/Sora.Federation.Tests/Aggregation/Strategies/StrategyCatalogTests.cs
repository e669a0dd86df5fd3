using Sora.Federation.Aggregation.Robust;
using Sora.Federation.Aggregation.Strategies;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Aggregation.Strategies;

public class StrategyCatalogTests
{
    [Fact]
    public void Every_strategy_can_be_made_from_its_own_parameters()
    {
        foreach (var name in StrategyCatalog.Names)
        {
            var parameters = StrategyCatalog.ParametersOf(name).ToDictionary(parameter => parameter.Name, parameter => parameter.Default);
            Assert.Equal(name, StrategyCatalog.Create(name, parameters).Name);
        }
    }

    [Fact]
    public void Defaults_are_the_ones_users_know()
    {
        Assert.Equal(new AdaptiveOptimizer(SecondMoment.Adam, 0.1, 0.9, 0.99, 1e-3), StrategyCatalog.Create("fedadam").Optimizer);
        Assert.Equal(new AdaptiveOptimizer(SecondMoment.Yogi, 0.01, 0.9, 0.99, 1e-3), StrategyCatalog.Create("fedyogi").Optimizer);
        Assert.Equal(new AdaptiveOptimizer(SecondMoment.Adagrad, 0.1, 0, 0, 1e-9), StrategyCatalog.Create("fedadagrad").Optimizer);
        Assert.Equal(new GradientDescent(0.7, 0.9, Nesterov: true), StrategyCatalog.Create("diloco").Optimizer);
        Assert.Equal(0.01, StrategyCatalog.Create("fedprox").SiteParameters["proximal_mu"]);
        Assert.Equal(0.5, StrategyCatalog.Create("fedbuff").StalenessExponent);
    }

    [Fact]
    public void Screens_can_be_added_to_a_strategy()
    {
        var strategy = StrategyCatalog.Create("fedadam", new Dictionary<string, double> { ["clipping_norm"] = 2, ["min_cosine"] = 0, ["max_norm_ratio"] = 3 });
        Assert.Equal([new NormOutliers(3), new CosineOutliers(0), new NormClipping(2)], strategy.Screens);
        Assert.False(strategy.Streams);
        Assert.True(StrategyCatalog.Create("fedavg", new Dictionary<string, double> { ["clipping_norm"] = 2 }).Streams);
    }

    [Theory]
    [InlineData("fedavgg", null, 0, "Did you mean 'fedavg'?")]
    [InlineData("fedadam", "beta1", 0.9, "beta_1")]
    [InlineData("fedadam", "beta_1", 1, "use 0 to")]
    [InlineData("fedadam", "tau", double.NaN, "more than 0 to")]
    [InlineData("fedavg", "max_norm_ratio", 0.5, "1 or more")]
    [InlineData("fedavg", "clipping_norm", 0, "use more than 0.")]
    [InlineData("krum", "byzantine_sites", 1.5, "whole number")]
    [InlineData("scaffold", "clipping_norm", 1, "no such parameter")]
    public void Mistakes_are_told_with_what_would_be_right(string name, string? parameter, double value, string expected)
    {
        var parameters = parameter is null ? null : new Dictionary<string, double> { [parameter] = value };
        var error = Assert.Throws<SoraException>(() => StrategyCatalog.Create(name, parameters));
        Assert.Contains(expected, error.Message);
        Assert.Equal(ExitCode.Usage, error.ExitCode);
    }
}
