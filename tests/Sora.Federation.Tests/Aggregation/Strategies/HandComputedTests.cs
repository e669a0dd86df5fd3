using Sora.Federation.Aggregation;
using Sora.Federation.Aggregation.Strategies;
using Sora.Federation.Aggregation.Updates;

namespace Sora.Federation.Tests.Aggregation.Strategies;

/// <summary>Each strategy against numbers worked out by hand from its paper's rule; the working stands beside them.</summary>
public class HandComputedTests
{
    [Fact]
    public void FedAvg_moves_by_the_mean_weighted_by_examples()
    {
        // (1 (1, -1) + 3 (3, 1)) / 4 = (2.5, 0.5)
        var model = RoundTesting.Run(StrategyCatalog.Create("fedavg"), [1, 2], [Update("a", 1, 1, -1), Update("b", 3, 3, 1)]);
        Assert.Equal([3.5f, 2.5f], model.Weights);
        Assert.Equal(1, model.Round);
    }

    [Fact]
    public void FedAvgM_keeps_momentum()
    {
        // g = -2: b = -2, w = 1 + 0.5 x 2 = 2.   g = -1: b = 0.5 x (-2) - 1 = -2, w = 2 + 0.5 x 2 = 3.
        var strategy = Create("fedavgm", ("server_learning_rate", 0.5), ("server_momentum", 0.5));
        var model = RoundTesting.Run(strategy, [1], [Update("a", 1, 2)], [Update("a", 1, 1)]);
        Assert.Equal(3, model.Weights[0]);
        Assert.Equal(-2, model.State[0][0]);
    }

    [Fact]
    public void DiLoCo_looks_ahead()
    {
        // g = -2: b = -2, w = 1 + 0.5 (2 + 0.5 x 2) = 2.5.   g = -1: b = -1 - 1 = -2, w = 2.5 + 0.5 (1 + 0.5 x 2) = 3.5.
        var strategy = Create("diloco", ("server_learning_rate", 0.5), ("server_momentum", 0.5));
        Assert.Equal(3.5f, RoundTesting.Run(strategy, [1], [Update("a", 1, 2)], [Update("a", 1, 1)]).Weights[0]);
    }

    [Fact]
    public void FedAdam_begins_with_v_of_tau_squared_and_corrects_no_bias()
    {
        // tau 2: v = 4. delta 2: m = 0.5 x 2 = 1, v = 0.5 x 4 + 0.5 x 4 = 4, w = 1 + 1 / (2 + 2) = 1.25.
        // delta 2:              m = 0.5 + 1 = 1.5, v = 4, w = 1.25 + 1.5 / 4 = 1.625.
        var strategy = Create("fedadam", ("server_learning_rate", 1), ("beta_1", 0.5), ("beta_2", 0.5), ("tau", 2));
        var model = RoundTesting.Run(strategy, [1], [Update("a", 1, 2)], [Update("a", 1, 2)]);
        Assert.Equal((1.625f, 1.5f, 4f), (model.Weights[0], model.State[0][0], model.State[1][0]));
    }

    [Fact]
    public void FedYogi_moves_v_towards_the_square_by_a_part_of_the_square()
    {
        // tau 2: v = 4. delta 5: 25 > 4: v = 4 + 0.2 x 25 = 9, m = 0.4 x 5 = 2, w = 1 + 2 / (3 + 2) = 1.4.
        // delta 2: 4 < 9: v = 9 - 0.2 x 4 = 8.2, m = 0.6 x 2 + 0.4 x 2 = 2, w = 1.4 + 2 / (sqrt 8.2 + 2).
        var strategy = Create("fedyogi", ("server_learning_rate", 1), ("beta_1", 0.6), ("beta_2", 0.8), ("tau", 2));
        Assert.Equal(1.4f, RoundTesting.Run(strategy, [1], [Update("a", 1, 5)]).Weights[0], 1e-6);
        Assert.Equal(1.4 + 2 / (Math.Sqrt(8.2) + 2), RoundTesting.Run(strategy, [1], [Update("a", 1, 5)], [Update("a", 1, 2)]).Weights[0], 1e-6);
    }

    [Fact]
    public void FedAdagrad_adds_up_squares()
    {
        // tau 3: v = 9. delta 4: v = 25, w = 1 + 4 / (5 + 3) = 1.5.   delta 12: v = 169, w = 1.5 + 12 / (13 + 3) = 2.25.
        var strategy = Create("fedadagrad", ("server_learning_rate", 1), ("tau", 3));
        Assert.Equal(2.25f, RoundTesting.Run(strategy, [1], [Update("a", 1, 4)], [Update("a", 1, 12)]).Weights[0]);
    }

    [Fact]
    public void FedBuff_weighs_by_staleness_and_divides_by_the_number_of_updates()
    {
        // Round 3: an update of round 3 counts 1 / sqrt 1, one of round 0 counts 1 / sqrt(1 + 3) = 0.5, whatever examples they claim.
        // (1 x 2 + 0.5 x 4) / 2 = 2, w = 1 + 0.5 x 2 = 2.
        var strategy = Create("fedbuff", ("server_learning_rate", 0.5));
        var updates = new[] { new MemoryUpdate("a", 7, [2], round: 3), new MemoryUpdate("b", 1000, [4], round: 0) };
        var outcome = Sora.Federation.Aggregation.RoundArithmetic.Aggregate(strategy, new ServerModel(3, [1], []), 3, updates);
        Assert.Equal(2, outcome.Model.Weights[0]);
        Assert.Equal([1, 0.5], outcome.Counted.Select(counted => counted.Weight));
    }

    [Fact]
    public void Scaffold_sites_subtract_their_own_drift_and_the_server_averages_the_control_variates()
    {
        // Site: w 1, c 1, c_i 0.5, eta_l 0.5, two steps with gradient 2: w -= 0.5 (2 - 0.5 + 1) = 1.25 each: -0.25, -1.5.
        // Option II: c_i+ = 0.5 - 1 + (1 + 1.5) / (2 x 0.5) = 2, which is the mean gradient. Update: dw = -2.5, dc = 1.5.
        float[] weights = [1], control = [1], siteControl = [0.5f];
        ScaffoldSite.Step(weights, [2], siteControl, control, 0.5);
        Assert.Equal(-0.25f, weights[0]);
        ScaffoldSite.Step(weights, [2], siteControl, control, 0.5);
        var update = ScaffoldSite.Finish([1], weights, siteControl, control, 2, 0.5);
        Assert.Equal([-2.5f, 1.5f], update);
        Assert.Equal(2, siteControl[0]);

        // Server, 2 of 4 sites, the other one sent (0.5, -0.5): w = 1 + (-2.5 + 0.5) / 2 = 0, c = 1 + 2/4 x (1.5 - 0.5) / 2 = 1.25.
        var strategy = Create("scaffold", ("total_sites", 4));
        var model = Sora.Federation.Aggregation.RoundArithmetic.Aggregate(strategy, new ServerModel(0, [1], [[1]]), 0, [new MemoryUpdate("a", 10, update), Update("b", 1, 0.5f, -0.5f)]).Model;
        Assert.Equal((0f, 1.25f), (model.Weights[0], model.State[0][0]));
    }

    [Fact]
    public void FedProx_pulls_back_to_the_global_weights()
    {
        // 0.5 / 2 x ((3 - 1)^2 + (0 - 1)^2) = 1.25; gradient (1, 1) + 0.5 x (2, -1) = (2, 0.5)
        Assert.Equal(1.25, ProximalTerm.Value([3, 0], [1, 1], 0.5));
        float[] gradient = [1, 1];
        ProximalTerm.AddGradient(gradient, [3, 0], [1, 1], 0.5);
        Assert.Equal([2, 0.5f], gradient);
        Assert.Equal(0.5, Create("fedprox", ("proximal_mu", 0.5)).SiteParameters["proximal_mu"]);
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(1, 0.25)]
    [InlineData(2, 0.0625)]
    public void FedBuff_discounts_by_any_power_of_staleness(double exponent, float expected) =>
        Assert.Equal(expected, RoundArithmetic.Aggregate(Create("fedbuff", ("staleness_exponent", exponent)), new ServerModel(3, [0], []), 3, [new MemoryUpdate("a", 9, [1], round: 0)]).Model.Weights[0], 1e-8);

    [Fact]
    public void FedMedian_and_FedTrimmedAvg_take_the_middle()
    {
        // (1, 2, 3, 4, 100): median 3; a fifth off at each end: (2 + 3 + 4) / 3 = 3. Of (1, 2, 4, 100): median (2 + 4) / 2 = 3.
        MemoryUpdate[] five = [Update("a", 1, 1), Update("b", 1, 100), Update("c", 1e6, 3), Update("d", 1, 2), Update("e", 1, 4)];
        Assert.Equal(3, RoundTesting.Run(StrategyCatalog.Create("median"), [0], [five]).Weights[0]);
        Assert.Equal(3, RoundTesting.Run(Create("trimmed_mean", ("trim_fraction", 0.2)), [0], [five]).Weights[0]);
        Assert.Equal(3, RoundTesting.Run(StrategyCatalog.Create("median"), [0], [[.. five.Where(update => update.Site != "c")]]).Weights[0]);
    }

    private static MemoryUpdate Update(string site, double weight, params float[] values) => new(site, weight, values);

    private static ServerStrategy Create(string name, params (string Name, double Value)[] parameters) =>
        StrategyCatalog.Create(name, parameters.ToDictionary(parameter => parameter.Name, parameter => parameter.Value));
}
