using Sora.Model.Inference;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Inference;

public class TokenSamplerTests
{
    private static readonly float[] _logits = [0, MathF.Log(2), MathF.Log(4), MathF.Log(1), float.NegativeInfinity]; // 1 : 2 : 4 : 1 : 0

    [Fact]
    public void Choose_TemperatureZero_TakesTheLikeliestAndTheFirstOfEquals()
    {
        Assert.Equal(2, TokenSampler.Choose(_logits, new() { Temperature = 0 }, 0));
        Assert.Equal(1, TokenSampler.Choose([0, 3, 3, 3], new() { Temperature = 0 }, 0));
    }

    [Fact]
    public void Choose_TemperatureOne_FollowsTheDistribution() => AssertShares([1 / 8.0, 2 / 8.0, 4 / 8.0, 1 / 8.0, 0], new() { Temperature = 1 });

    [Fact]
    public void Choose_TemperatureHalf_SquaresTheOdds() => AssertShares([1 / 22.0, 4 / 22.0, 16 / 22.0, 1 / 22.0, 0], new() { Temperature = 0.5 });

    [Fact]
    public void Choose_TopK_KeepsTheLikeliest() => AssertShares([0, 2 / 6.0, 4 / 6.0, 0, 0], new() { Temperature = 1, TopK = 2 });

    [Fact]
    public void Choose_TopKAmongEquals_KeepsTheFirst() => AssertShares([1 / 7.0, 2 / 7.0, 4 / 7.0, 0, 0], new() { Temperature = 1, TopK = 3 });

    [Theory]
    [InlineData(0.5, 1)]
    [InlineData(0.51, 2)]
    [InlineData(0.75, 2)]
    [InlineData(0.76, 3)]
    [InlineData(1e-9, 1)]
    public void Choose_TopP_KeepsTheFewestThatHoldTheShare(double share, int kept)
    {
        double[] likeliestFirst = [4, 2, 1, 1];
        var total = likeliestFirst.Take(kept).Sum();
        var expected = new double[5];
        foreach (var (id, rank) in new[] { 2, 1, 0, 3 }.Take(kept).Select((id, rank) => (id, rank)))
            expected[id] = likeliestFirst[rank] / total;
        AssertShares(expected, new() { Temperature = 1, TopP = share });
    }

    [Fact]
    public void Choose_HugeLogits_DoNotOverflow() => Assert.Equal(1, TokenSampler.Choose([-3e38f, 3e38f], new() { Temperature = 1e-3 }, 0));

    [Theory]
    [InlineData(0, float.NaN, 1)]
    [InlineData(float.NaN, 0, 1)]
    [InlineData(0, float.PositiveInfinity, 1)]
    [InlineData(float.NegativeInfinity, float.NegativeInfinity, float.NegativeInfinity)]
    public void Choose_NotFinite_SaysThatTheModelDiverged(float a, float b, float c) =>
        Assert.Equal(ExitCode.Diverged, Assert.Throws<SoraException>(() => TokenSampler.Choose([a, b, c], new(), 0)).ExitCode);

    [Theory]
    [InlineData(-1, 0, 1)]
    [InlineData(double.NaN, 0, 1)]
    [InlineData(1, -1, 1)]
    [InlineData(1, 0, 0)]
    [InlineData(1, 0, 1.1)]
    public void Check_ValueOutOfRange_IsRefused(double temperature, int topK, double topP) =>
        Assert.Equal(ExitCode.Usage, Assert.Throws<SoraException>(() => new GenerationOptions { Temperature = temperature, TopK = topK, TopP = topP }.Check()).ExitCode);

    // Seeded, so it always draws the same; the margin is four standard deviations.
    private static void AssertShares(double[] expected, GenerationOptions options)
    {
        const int draws = 10_000;
        var counts = new int[expected.Length];
        for (var index = 0; index < draws; index++)
            counts[TokenSampler.Choose(_logits, options, index)]++;
        Assert.All(expected.Zip(counts), pair => Assert.Equal(pair.First, pair.Second / (double)draws, 4 * Math.Sqrt(pair.First * (1 - pair.First) / draws)));
    }
}
