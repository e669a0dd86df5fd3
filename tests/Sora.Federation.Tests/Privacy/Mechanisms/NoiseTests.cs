using System.Security.Cryptography;
using Sora.Federation.Privacy;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Privacy.Mechanisms;

public class NoiseTests
{
    // Pearson's statistic of 40,000 draws against the definition, with a bound far outside chance for the right distribution.
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(50)]
    public void The_discrete_Gaussian_has_the_probabilities_of_its_definition(long variance)
    {
        const int draws = 40_000;
        var noise = new DiscreteGaussian(variance, new SeededGenerator(11));
        var counts = new Dictionary<long, int>();
        for (var i = 0; i < draws; i++)
        {
            var drawn = noise.Sample();
            counts[drawn] = counts.GetValueOrDefault(drawn) + 1;
        }
        var total = Enumerable.Range(-200, 401).Sum(z => Math.Exp(-z * z / (2.0 * variance)));
        var (statistic, cells) = (0.0, 0);
        for (var z = -200; z <= 200; z++)
        {
            var expected = draws * Math.Exp(-z * z / (2.0 * variance)) / total;
            if (expected < 10) continue;
            statistic += Math.Pow(counts.GetValueOrDefault(z) - expected, 2) / expected;
            cells++;
        }
        Assert.InRange(statistic, 0, cells + 4 * Math.Sqrt(2 * cells) + 4);
    }

    [Theory]
    [InlineData(1L << 30)]
    [InlineData(1L << 46)]
    [InlineData(1L << 48)]
    public void Large_variances_too(long variance)
    {
        var noise = new DiscreteGaussian(variance, new SeededGenerator(5));
        var deviation = Math.Sqrt(variance);
        var draws = Enumerable.Range(0, 20_000).Select(_ => noise.Sample() / deviation).ToArray();
        Assert.Equal(0, draws.Average(), 0.03);
        Assert.Equal(1, draws.Average(draw => draw * draw), 0.04);
        Assert.Equal(3, draws.Average(draw => Math.Pow(draw, 4)), 0.3);
        Assert.Equal(0.1587, draws.Count(draw => draw > 1) / 20_000.0, 0.01);
    }

    [Fact]
    public void A_variance_that_cannot_be_drawn_is_refused()
    {
        using var random = RandomNumberGenerator.Create();
        Assert.Throws<SoraException>(() => new DiscreteGaussian(0, random));
        Assert.Throws<SoraException>(() => new DiscreteGaussian((1L << 48) + 1, random));
        Assert.Throws<SoraException>(() => DiscreteGaussian.VarianceOf(double.NaN));
        Assert.Equal(2, DiscreteGaussian.VarianceOf(1.1));
    }

    [Fact]
    public void Central_noise_is_scaled_to_the_sum_that_was_taken()
    {
        var noise = new CentralNoise(1.5, ClippingNorm: 0.1, MaximumWeight: 20);
        Assert.Equal(2, noise.Sensitivity, 1e-12);
        var sum = Enumerable.Repeat(100.0, 20_000).ToArray();
        noise.AddTo(sum, new SeededGenerator(1));
        Assert.Equal(100, sum.Average(), 0.1);
        Assert.Equal(3, Math.Sqrt(sum.Average(value => (value - 100) * (value - 100))), 0.06);
    }

    // The low bits of a noisy value must not depend on what the noise was added to: all lie on one coarse grid.
    [Fact]
    public void Central_noise_leaves_no_low_bits_of_the_sum()
    {
        var sum = Enumerable.Range(0, 100).Select(i => Math.Sqrt(i) * 1e-3).ToArray();
        new CentralNoise(1, 1).AddTo(sum, new SeededGenerator(1));
        var spacing = Math.ScaleB(1, -22);
        Assert.All(sum, value => Assert.Equal(Math.Round(value / spacing), value / spacing));
    }

    [Fact]
    public void A_weight_above_the_bound_is_refused()
    {
        var noise = new CentralNoise(1, 1, MaximumWeight: 10);
        Assert.Equal(10, noise.CheckWeight(10));
        Assert.Throws<SoraException>(() => noise.CheckWeight(10.1));
        Assert.Throws<SoraException>(() => noise.CheckWeight(-1));
        Assert.Throws<SoraException>(() => noise.CheckWeight(double.NaN));
    }

    [Theory]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    [InlineData(1e300)]
    public void A_sum_that_clipped_updates_cannot_give_is_refused(double value) =>
        Assert.Throws<SoraException>(() => new CentralNoise(1, 1).AddTo(new[] { value }, new SeededGenerator(1)));

    [Fact]
    public void An_average_is_over_the_public_weight()
    {
        var sum = Enumerable.Repeat(50.0, 5000).ToArray();
        new CentralNoise(1, 1).ReleaseAverage(sum, 10, new SeededGenerator(2));
        Assert.Equal(5, sum.Average(), 0.01);
        Assert.Equal(0.1, Math.Sqrt(sum.Average(value => (value - 5) * (value - 5))), 0.005);
    }

    [Fact]
    public void The_shares_of_the_fewest_survivors_make_up_the_whole_noise()
    {
        var noise = new DistributedNoise(1.2, ClippingNorm: 1, Spacing: 1.0 / (1 << 16), Survivors: 5);
        const int dimensions = 4000;
        var sum = new long[dimensions];
        var steps = new long[dimensions];
        for (var site = 0; site < 5; site++)
        {
            noise.Encode(new float[dimensions], steps, new SeededGenerator(site));
            for (var i = 0; i < dimensions; i++) sum[i] += steps[i];
        }
        Assert.Equal(1.2, Math.Sqrt(sum.Average(value => Math.Pow(value * noise.Spacing, 2))), 0.05);
        Assert.InRange(noise.NoiseMultiplierWith(5), 1.2, 1.2 + 1e-6);
        Assert.Equal(1.2 * Math.Sqrt(8 / 5.0), noise.NoiseMultiplierWith(8), 1e-6);
        Assert.Throws<SoraException>(() => noise.NoiseMultiplierWith(4));
    }

    [Fact]
    public void Values_on_the_grid_keep_the_updates_norm_under_the_limit()
    {
        // So little noise that what is sent is nearly the update: every value is cut off towards zero.
        var noise = new DistributedNoise(0.01, ClippingNorm: 1, Spacing: 1e-6, Survivors: 1);
        float[] update = [0.6f, -0.8f];
        UpdateClipping.Clip(update, 1);
        var steps = new long[2];
        var sums = new double[2];
        var random = new SeededGenerator(4);
        for (var i = 0; i < 2000; i++)
        {
            noise.Encode(update, steps, random);
            for (var j = 0; j < 2; j++) sums[j] += steps[j] / 2000.0;
        }
        Assert.Equal(600_000, sums[0], 1000.0);
        Assert.Equal(-800_000, sums[1], 1000.0);
    }

    [Fact]
    public void A_share_that_the_grid_cannot_carry_or_an_update_that_was_not_clipped_is_refused()
    {
        Assert.Throws<SoraException>(() => new DistributedNoise(1, 1, Spacing: 0.5, Survivors: 3).ShareVariance);
        Assert.Throws<SoraException>(() => new DistributedNoise(1, 1, Spacing: 1e-9, Survivors: 3).ShareVariance);
        Assert.Throws<SoraException>(() => new DistributedNoise(1, 1, 1e-4, 3).Encode([1.01f], new long[1], new SeededGenerator(1)));
    }
}
