using Sora.Federation.Privacy;

namespace Sora.Federation.Tests.Privacy.Accounting;

public class PrivacyLossAccountantTests
{
    // Opacus, tests/prv_accountant.py, computed by microsoft/prv_accountant: noise multiplier, sample rate, steps, epsilon at delta 1e-6.
    private const string Table = """
        0.8 0.001 100 0.270403364058
        1.5 0.001 100 0.039369419309
        2.0 0.001 100 0.029104536948
        3.0 0.001 100 0.021520093439
        0.8 0.05 100 6.741051939414
        1.5 0.05 100 1.953853135684
        2.0 0.05 100 1.283637379624
        3.0 0.05 100 0.767933789666
        0.8 0.2 100 24.33366417792
        1.5 0.2 100 8.498977859121
        2.0 0.2 100 5.672055608823
        3.0 0.2 100 3.381220510221
        0.8 0.001 1000 0.477771266184
        1.5 0.001 1000 0.099820660230
        2.0 0.001 1000 0.071218782538
        3.0 0.001 1000 0.047615930871
        0.8 0.05 1000 19.52584280538
        1.5 0.05 1000 6.209969246577
        2.0 0.05 1000 4.172799866689
        3.0 0.05 1000 2.527574326059
        0.8 0.001 20000 1.296009257570
        1.5 0.001 20000 0.437005108654
        2.0 0.001 20000 0.305837939762
        3.0 0.001 20000 0.194031030686
        1.5 0.05 20000 38.30661791408
        2.0 0.05 20000 24.42171857032
        3.0 0.05 20000 13.96111469923
        0.8 0.001 50000 2.034514807715
        1.5 0.001 50000 0.704218384555
        2.0 0.001 50000 0.491354910211
        3.0 0.001 50000 0.309694161156
        1.5 0.05 50000 73.19017672383
        2.0 0.05 50000 45.23699586133
        3.0 0.05 50000 24.94200564314
        """;

    public static IEnumerable<TheoryDataRow<double, double, long, double>> Rows() => Table.Split('\n')
        .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        .Select(row => new TheoryDataRow<double, double, long, double>(double.Parse(row[0]), double.Parse(row[1]), long.Parse(row[2]), double.Parse(row[3])));

    /// <summary>What the PRV accountant of Gopi et al. 2021 prints: its estimate at delta less a thousandth, plus its error bound of 0.01.</summary>
    internal static double AsPrinted(double epsilonAtLessDelta) => epsilonAtLessDelta + 0.01;

    [Theory]
    [MemberData(nameof(Rows))]
    public void The_table_of_Microsofts_accountant_to_four_digits(double noise, double rate, long steps, double expected)
    {
        var epsilon = new PrivacyLossAccountant(4e-5).Epsilon([new(noise, rate, steps)], 1e-6 * (1 - 1e-3));
        // That accountant rounds losses to a grid of 0.01 / sqrt(steps / 2 * ln(12 / 1e-9)), which widens the smallest epsilons visibly.
        var grid = 0.01 / Math.Sqrt(steps / 2.0 * Math.Log(12e9));
        var deviation = rate * Math.Sqrt(steps * (Math.Exp(1 / (noise * noise)) - 1));
        Assert.InRange(AsPrinted(epsilon), expected - 5e-5 - 5 * steps * grid * grid / (24 * deviation), expected + 5e-5);
    }

    [Fact]
    public void Opacus_training_of_90_epochs() =>
        Assert.Equal(6.777395712, AsPrinted(new PrivacyLossAccountant(1e-6).Epsilon([new(1.5, 0.04, 2249)], 1e-5 * (1 - 1e-3))), 1e-5);

    [Theory]
    [InlineData(1, 1, 4.3772)]
    [InlineData(2, 50, 20.6755)]
    [InlineData(5, 100, 9.9973)]
    public void Full_participation_is_exact(double noise, long rounds, double expected) =>
        Assert.Equal(expected, new PrivacyLossAccountant().Epsilon([new(noise, 1, rounds)], 1e-5), 5e-5);

    // Google's dp_accounting, privacy loss distribution tests.
    [Fact]
    public void Delta_of_three_Gaussians() => Assert.Equal(0.1269367, new PrivacyLossAccountant().Delta([new(Math.Sqrt(3), 1, 3)], 1), 5e-8);

    [Fact]
    public void Delta_of_three_sampled_Gaussians() => Assert.Equal(0.15594, new PrivacyLossAccountant().Delta([new(0.5, 0.2, 3)], 1), 1e-3);

    // Sampling with rate almost 1 is no sampling: the transform against the closed form, over twelve orders of magnitude of delta.
    [Theory]
    [InlineData(0.7, 1, 1e-3)]
    [InlineData(1, 1, 1e-6)]
    [InlineData(4, 30, 1e-9)]
    [InlineData(30, 1000, 1e-12)]
    [InlineData(50, 10, 1e-15)]
    [InlineData(300, 100_000, 1e-5)]
    public void The_transform_gives_the_closed_form_and_never_less(double noise, long count, double delta)
    {
        const double almost = 1 - 1e-12;
        var exact = new PrivacyLossAccountant().Epsilon([new(noise, 1, count)], delta);
        var composed = new PrivacyLossAccountant(1e-4).Epsilon([new(noise, almost, count)], delta);
        Assert.InRange(composed, exact - 1e-8, exact + 3e-4);
    }

    // Hardly any noise: who takes part in both releases is seen, at a loss of 1 / 2s^2 each, which no power of e holds.
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Losses_beyond_the_range_of_doubles_are_not_lost(int count)
    {
        var all = new PrivacyLossAccountant().Epsilon([new(0.01, 1, count)], 1e-6);
        Assert.InRange(new PrivacyLossAccountant().Epsilon([new(0.01, 0.9, count)], 1e-6), 0.99 * all, all);
    }

    [Theory]
    [InlineData(0.05, 0.5, 1000)]
    [InlineData(0.3, 1e-6, 100_000_000)]
    [InlineData(1e6, 0.5, 100_000_000)]
    public void Extremes_give_a_bound_not_far_below_Renyis(double noise, double rate, long count)
    {
        PrivacyEvent[] events = [new(noise, rate, count)];
        var renyi = new RenyiAccountant().Epsilon(events, 1e-6);
        Assert.InRange(new PrivacyLossAccountant().Epsilon(events, 1e-6), 0.5 * renyi, renyi);
    }

    [Fact]
    public void A_coarser_grid_gives_a_larger_bound()
    {
        PrivacyEvent[] events = [new(1.1, 0.02, 700)];
        var bounds = new[] { 1e-6, 1e-5, 1e-4, 1e-3, 1e-2 }.Select(tolerance => new PrivacyLossAccountant(tolerance).Epsilon(events, 1e-6)).ToArray();
        Assert.Equal(bounds.Order(), bounds);
        Assert.InRange(bounds[^1], bounds[0], bounds[0] + 2e-2);
    }

    [Fact]
    public void It_is_below_Renyis_bound_and_above_what_fewer_steps_cost()
    {
        foreach (var (noise, rate, steps) in new[] { (1.1, 0.01, 2000L), (0.6, 0.3, 10L), (5.0, 0.5, 300L) })
        {
            var tight = new PrivacyLossAccountant().Epsilon([new(noise, rate, steps)], 1e-6);
            Assert.True(tight < new RenyiAccountant().Epsilon([new(noise, rate, steps)], 1e-6));
            Assert.True(tight > new PrivacyLossAccountant().Epsilon([new(noise, rate, steps / 2)], 1e-6));
        }
    }

    [Fact]
    public void Delta_and_epsilon_are_each_others_inverse()
    {
        var accountant = new PrivacyLossAccountant(1e-6);
        foreach (var delta in new[] { 1e-3, 1e-6, 1e-10 })
        {
            PrivacyEvent[] events = [new(1.5, 0.04, 500), new(3, 0.2, 20)];
            Assert.Equal(1, accountant.Delta(events, accountant.Epsilon(events, delta)) / delta, 1e-4);
        }
    }

    [Fact]
    public void Different_kinds_of_releases_compose_in_any_order_and_grouping()
    {
        var accountant = new PrivacyLossAccountant();
        PrivacyEvent[] events = [new(1.2, 0.05, 40), new(6, 1, 3), new(2, 0.3, 5)];
        var together = accountant.Epsilon(events, 1e-6);
        PrivacyEvent[] apart = [new(2, 0.3, 2), new(6, 1, 1), new(1.2, 0.05, 39), new(2, 0.3, 3), new(1.2, 0.05, 1), new(6 / Math.Sqrt(2), 1, 1)];

        Assert.Equal(together, accountant.Epsilon(apart, 1e-6), 1e-9);
        Assert.True(together > accountant.Epsilon(events[..2], 1e-6));
        Assert.True(together < events.Sum(one => accountant.Epsilon([one], 1e-6 / 3)));
    }

    // The central limit theorem is no bound; Opacus' "gdp" accountant takes it for one and is below the true epsilon.
    [Fact]
    public void Opacus_Gaussian_accountant_undercounts()
    {
        var mean = 0.04 * Math.Sqrt(2249 * (Math.Exp(1 / 2.25) - 1));
        Assert.InRange(AnalyticGaussian.Epsilon(mean, 1e-5), 6.59, 6.60);
        Assert.True(new PrivacyLossAccountant().Epsilon([new(1.5, 0.04, 2249)], 1e-5) > 6.75);
    }
}
