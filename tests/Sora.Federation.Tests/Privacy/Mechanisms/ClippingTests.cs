using CsCheck;
using Sora.Federation.Privacy;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Privacy.Mechanisms;

public class ClippingTests
{
    [Fact]
    public void An_update_under_the_limit_stays_as_it_is()
    {
        float[] update = [3, 4];
        Assert.Equal(new ClippedUpdate(5, false), UpdateClipping.Clip(update, 5));
        Assert.Equal([3, 4], update);
    }

    [Fact]
    public void A_longer_one_is_scaled_to_it()
    {
        float[] update = [30, 40];
        Assert.Equal(new ClippedUpdate(50, true), UpdateClipping.Clip(update, 5));
        Assert.Equal(3, update[0], 1e-5f);
        Assert.Equal(4, update[1], 1e-5f);
    }

    [Fact]
    public void An_update_of_zeros_has_norm_zero_and_stays_zero()
    {
        var update = new float[5];
        Assert.Equal(new ClippedUpdate(0, false), UpdateClipping.Clip(update, 1e-9));
        Assert.All(update, value => Assert.Equal(0, value));
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    [InlineData(float.NegativeInfinity)]
    public void What_is_not_finite_is_refused_by_its_place(float value)
    {
        var norm = new UpdateNorm();
        norm.Add(new float[7]);
        var error = Assert.Throws<SoraException>(() => norm.Add([1, value]));
        Assert.Contains("parameter 8", error.Message);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    public void A_limit_that_limits_nothing_is_refused(double limit) => Assert.Throws<SoraException>(() => UpdateClipping.Clip(new float[2], limit));

    // The noise is scaled to the limit, so rounding to float must not carry an update over it.
    [Fact]
    public void The_limit_holds_after_rounding() => Gen.Select(Gen.Float[-1e6f, 1e6f].Array[1, 200], Gen.Double[1e-6, 1e3]).Sample((update, limit) =>
    {
        UpdateClipping.Clip(update, limit);
        var norm = new UpdateNorm();
        norm.Add(update);
        Assert.True(norm.Value <= limit, $"{norm.Value} > {limit}");
    });

    [Fact]
    public void The_norm_of_chunks_is_the_norm_of_the_whole()
    {
        var update = Enumerable.Range(0, 1000).Select(i => (float)Math.Sin(i)).ToArray();
        var (whole, chunks) = (new UpdateNorm(), new UpdateNorm());
        whole.Add(update);
        foreach (var chunk in update.Chunk(77)) chunks.Add(chunk);
        Assert.Equal(whole.Value, chunks.Value);
    }

    // Every norm is 10 and the limit starts at 1: all updates are clipped, so the limit grows by exp(0.2 * 0.5) a round.
    [Fact]
    public void The_adaptive_limit_grows_towards_norms_above_it()
    {
        var clipping = new AdaptiveClipping(1);
        for (var round = 0; round < 10; round++) clipping = clipping.Next(clipping.Limit >= 10 ? 1 : 0);
        Assert.Equal(2.72, clipping.Limit, 5e-3);
        for (var round = 0; round < 40; round++) clipping = clipping.Next(clipping.Limit >= 10 ? 1 : 0);
        Assert.InRange(clipping.Limit, 9, 11.1);
    }

    [Fact]
    public void The_adaptive_limit_finds_the_quantile_of_the_norms()
    {
        var norms = Enumerable.Range(1, 100).ToArray();
        var clipping = new AdaptiveClipping(0.1, TargetQuantile: 0.8);
        for (var round = 0; round < 300; round++) clipping = clipping.Next(norms.Count(norm => norm <= clipping.Limit) / 100.0);
        Assert.InRange(clipping.Limit, 78, 83);
    }

    [Fact]
    public void The_noisy_share_is_the_share_on_average()
    {
        var random = new SeededGenerator(3);
        var shares = Enumerable.Range(0, 4000).Select(_ => AdaptiveClipping.NoisyFraction(70, 100, 5, random)).ToArray();
        Assert.Equal(0.7, shares.Average(), 5e-3);
        Assert.Equal(0.05, Math.Sqrt(shares.Average(share => (share - 0.7) * (share - 0.7))), 3e-3);
    }

    // Both releases together must cost what one with the whole noise multiplier costs.
    [Fact]
    public void The_noise_is_split_between_updates_and_count()
    {
        var updates = AdaptiveClipping.UpdateNoiseMultiplier(1.2, countDeviation: 5);
        var accountant = new PrivacyLossAccountant();
        Assert.Equal(accountant.Epsilon([new(1.2, 1, 1)], 1e-6), accountant.Epsilon([new(updates, 1, 1), new(2 * 5, 1, 1)], 1e-6), 1e-9);
        Assert.True(updates > 1.2);
        Assert.Throws<SoraException>(() => AdaptiveClipping.UpdateNoiseMultiplier(1.2, 0.6));
    }
}
