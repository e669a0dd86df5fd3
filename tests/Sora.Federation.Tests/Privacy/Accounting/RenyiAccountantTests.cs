using Sora.Federation.Privacy;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Privacy.Accounting;

public class RenyiAccountantTests
{
    private static readonly RenyiAccountant Accountant = new();

    // Opacus, accountants_test.py.
    [Fact]
    public void Opacus_training_of_90_epochs_costs_what_Opacus_says_at_the_same_order()
    {
        var (epsilon, order) = Accountant.EpsilonAndOrder([new(1.5, 0.04, 2250)], 1e-5);
        Assert.Equal(7.32911117143, epsilon, 1e-10);
        Assert.Equal(3.9, order, 1e-12);
    }

    // Opacus, docstring of its Renyi analysis: two kinds of steps, orders 2 to 32.
    [Fact]
    public void Different_kinds_of_steps_add_up()
    {
        var accountant = new RenyiAccountant(Enumerable.Range(2, 31).Select(order => (double)order));
        var (epsilon, order) = accountant.EpsilonAndOrder([new(1, 1e-5, 10), new(3, 1e-4, 4)], 1e-5);
        Assert.Equal(0.336, epsilon, 5e-4);
        Assert.Equal(23, order);
    }

    // Google's dp_accounting, rdp tests: 50 steps.
    [Theory]
    [InlineData(5, 2.18075656e-3)]
    [InlineData(50, 2.38460375e-2)]
    [InlineData(100, 167.416308)]
    public void Whole_orders_are_exact(int order, double expected) =>
        Assert.Equal(1, RenyiAccountant.Divergence([new(2.5, 0.01, 50)], order) / expected, 1e-8);

    // A sum over the absolute values of the binomials gives 6.706e-4 here; adaptive quadrature gives 6.501e-4.
    [Fact]
    public void A_fractional_order_is_the_integral_and_not_a_sum_of_absolute_values() =>
        Assert.Equal(6.501e-4, RenyiAccountant.Divergence([new(2.5, 0.01, 50)], 1.5), 5e-8);

    [Theory]
    [InlineData(0.6, 0.004)]
    [InlineData(1.5, 0.04)]
    [InlineData(0.3, 0.5)]
    [InlineData(20, 0.9)]
    public void Fractional_orders_continue_the_whole_ones(double noise, double rate)
    {
        for (var order = 2; order < 60; order += 3)
        {
            var whole = RenyiAccountant.Divergence([new(noise, rate, 1)], order);
            var near = RenyiAccountant.Divergence([new(noise, rate, 1)], order * (1 + 1e-10));
            Assert.Equal(1, near / whole, 1e-7);
        }
    }

    // TensorFlow Privacy's README has 2.92, 9.74 and 1.20, by the conversion of 2017.
    [Theory]
    [InlineData(1.12, 60, 2.52)]
    [InlineData(0.6, 30, 8.77)]
    [InlineData(1.2, 10, 0.93)]
    public void The_conversion_is_the_tight_one(double noise, int epochs, double expected) =>
        Assert.Equal(expected, Accountant.Epsilon([new(noise, 256.0 / 60_000, (long)Math.Ceiling(epochs * 60_000 / 256.0))], 1e-5), 6e-3);

    [Theory]
    [InlineData(1, 1, 4.7285)]
    [InlineData(2, 50, 22.0199)]
    [InlineData(5, 100, 10.7255)]
    public void Full_participation(double noise, long rounds, double expected) =>
        Assert.Equal(expected, Accountant.Epsilon([new(noise, 1, rounds)], 1e-5), 5e-5);

    // dp_accounting: DP-FTRL over 1600 steps is below 19.74 and 2.04; the first is rho + 2 sqrt(rho ln 1/delta), the conversion of 2016.
    [Theory]
    [InlineData(1.13, 19.74)]
    [InlineData(8.83, 2.04)]
    public void Tree_aggregation(double noise, double bound)
    {
        var tree = PrivacyEvent.Tree(noise, 1600);
        Assert.Equal(11, tree.Count);
        Assert.InRange(Accountant.Epsilon([tree], 1e-6), 0.85 * bound, bound);
        var rho = RenyiAccountant.Divergence([tree], 2) / 2;
        Assert.Equal(11 / (2 * noise * noise), rho, 1e-12);
        Assert.Equal(bound, rho + 2 * Math.Sqrt(rho * Math.Log(1e6)), 6e-3);
    }

    // TensorFlow Federated's tutorial: 3383 clients, 100 rounds, noise of 0.01 a client.
    [Fact]
    public void The_tutorial_of_TensorFlow_Federated_needs_120_clients_a_round()
    {
        Assert.Equal(1.986, Epsilon(120), 5e-4);
        Assert.Equal(2.004, Epsilon(119), 5e-4);

        static double Epsilon(int clients) => Accountant.Epsilon([new(0.01 * clients, clients / 3383.0, 100)], 1e-5);
    }

    [Fact]
    public void Delta_and_epsilon_are_each_others_inverse()
    {
        PrivacyEvent[] events = [new(1.5, 0.04, 2250)];
        Assert.Equal(1e-5, Accountant.Delta(events, Accountant.Epsilon(events, 1e-5)), 1e-12);
    }

    [Fact]
    public void Nothing_released_costs_nothing() => Assert.Equal(0, Accountant.Epsilon([], 1e-5));

    [Theory]
    [InlineData(0, 0.1, 1, 1e-5)]
    [InlineData(-1, 0.1, 1, 1e-5)]
    [InlineData(double.NaN, 0.1, 1, 1e-5)]
    [InlineData(double.PositiveInfinity, 0.1, 1, 1e-5)]
    [InlineData(1, 0, 1, 1e-5)]
    [InlineData(1, 1.1, 1, 1e-5)]
    [InlineData(1, 0.1, 0, 1e-5)]
    [InlineData(1, 0.1, 1, 0)]
    [InlineData(1, 0.1, 1, 1)]
    [InlineData(1, 0.1, 1, double.NaN)]
    public void What_makes_no_sense_is_a_usage_error(double noise, double rate, long count, double delta)
    {
        foreach (var name in new[] { "prv", "rdp" })
        {
            var error = Assert.Throws<SoraException>(() => PrivacyAccountant.Named(name).Epsilon([new(noise, rate, count)], delta));
            Assert.Equal(ExitCode.Usage, error.ExitCode);
        }
    }
}
