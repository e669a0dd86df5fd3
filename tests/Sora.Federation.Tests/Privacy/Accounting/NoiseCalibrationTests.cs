using Sora.Federation.Privacy;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Privacy.Accounting;

public class NoiseCalibrationTests
{
    private static readonly RenyiAccountant Renyi = new();
    private static readonly PrivacyLossAccountant Tight = new();

    // Opacus halves (0, 20) until epsilon is within 0.01 below 8; with our accountants it ends at the numbers of its tests.
    [Theory]
    [InlineData(2250, 1.416)]
    [InlineData(2000, 1.3562)]
    public void Opacus_search_with_Renyis_orders(long steps, double expected) =>
        Assert.Equal(expected, OpacusSearch(noise => Renyi.Epsilon([new(noise, 0.04, steps)], 1e-5)), 5e-5);

    [Theory]
    [InlineData(2250, 1.34766)]
    [InlineData(2000, 1.2915)]
    public void Opacus_search_with_the_tight_accountant(long steps, double expected) =>
        Assert.Equal(expected, OpacusSearch(noise => PrivacyLossAccountantTests.AsPrinted(Tight.Epsilon([new(noise, 0.04, steps)], 1e-5 * (1 - 1e-3)))), 5e-5);

    [Fact]
    public void Opacus_search_with_the_central_limit() =>
        Assert.Equal(1.32324, OpacusSearch(noise => AnalyticGaussian.Epsilon(0.04 * Math.Sqrt(2250 * (Math.Exp(1 / (noise * noise)) - 1)), 1e-5)), 5e-6);

    [Theory]
    [InlineData("rdp", 1.416)]
    [InlineData("prv", 1.34766)]
    public void The_smallest_noise_keeps_the_promise_and_is_below_what_Opacus_found(string name, double opacus)
    {
        var accountant = PrivacyAccountant.Named(name);
        var noise = NoiseCalibration.SmallestNoise(accountant, 8, 1e-5, 0.04, 2250);
        Assert.InRange(noise, opacus - 0.005, opacus);
        Assert.InRange(accountant.Epsilon([new(noise, 0.04, 2250)], 1e-5), 7.999, 8);
    }

    // Google's dp_accounting, calibration of one query; its grid of 1e-4 asks for 5e-8 more noise than the exact delta does.
    [Fact]
    public void One_sampled_query() =>
        Assert.Equal(0.67379294682, NoiseCalibration.SmallestNoise(Tight, 1, 1e-5, 0.01, 1, 1e-12), 1e-7);

    [Fact]
    public void A_promise_that_hardly_needs_noise_and_one_that_no_noise_keeps()
    {
        Assert.InRange(NoiseCalibration.SmallestNoise(Renyi, 1e5, 1e-5, 1, 1), 0.001, 0.02);
        var error = Assert.Throws<SoraException>(() => NoiseCalibration.SmallestNoise(Renyi, 1e-6, 1e-9, 1, 100_000));
        Assert.Equal(ExitCode.Usage, error.ExitCode);
        Assert.Throws<SoraException>(() => NoiseCalibration.SmallestNoise(Tight, 0, 1e-9, 1, 1));
    }

    private static double OpacusSearch(Func<double, double> epsilon)
    {
        var (low, high, reached) = (0.0, 10.0, double.PositiveInfinity);
        while (reached > 8) reached = epsilon(high *= 2);
        while (8 - reached > 0.01)
        {
            var middle = (low + high) / 2;
            var cost = middle < 0.1 ? double.PositiveInfinity : epsilon(middle);
            if (cost < 8) (high, reached) = (middle, cost);
            else low = middle;
        }
        return high;
    }
}
