using CsCheck;
using Sora.Federation.SecureAggregation;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.SecureAggregation;

public class FixedPointEncodingTests
{
    [Fact]
    public void Encode_OfHandComputedValues_IsExact()
    {
        // 2^31 - 1 over 4 sites is 536870911 steps a site; over a range of 8 that is 67108863.9, whose power of two below is 2^25.
        var encoding = new FixedPointEncoding(maximumSites: 4, valueRange: 8, maximumWeight: 10);
        var encoded = new uint[4];

        encoding.Encode([1f, -1f, 8f, 0.5f], weight: 5, first: 0, encoded);

        Assert.Equal(1 << 25, encoding.Scale);
        Assert.Equal([1u << 24, unchecked((uint)-(1 << 24)), 1u << 27, 1u << 23], encoded);
    }

    [Fact]
    public void Sum_OfTheLargestValuesAndWeightsOfAllSites_DoesNotOverflow() =>
        Gen.Select(Gen.Int[1, 100_000], Gen.Float[1e-6f, 1e6f], Gen.Int[1, 40_000]).Sample((sites, range, maximumWeight) =>
        {
            var encoding = new FixedPointEncoding(sites, range, maximumWeight);
            var encoded = new uint[2];
            encoding.Encode([range, -range], maximumWeight, 0, encoded);

            Assert.InRange((long)(int)encoded[0] * sites, 1, int.MaxValue);
            Assert.InRange((long)(int)encoded[1] * sites, -int.MaxValue, -1);
            Assert.InRange((long)maximumWeight * sites, 1, uint.MaxValue);
        });

    [Fact]
    public void DecodeMean_OfASum_IsTheWeightedMeanWithinAStepASite()
    {
        var encoding = new FixedPointEncoding(3, 2f, 100);
        float[] values = [1.25f, -0.75f, 1.9f];
        int[] weights = [100, 37, 1];
        uint sum = 0;
        for (var site = 0; site < 3; site++)
        {
            var encoded = new uint[1];
            encoding.Encode([values[site]], weights[site], 0, encoded);
            sum = unchecked(sum + encoded[0]);
        }

        var mean = new float[1];
        encoding.DecodeMean([sum], 138, mean);

        var expected = (1.25 * 100 - 0.75 * 37 + 1.9f * 1) / 138;
        Assert.Equal(expected, mean[0], 3 * 0.5 / encoding.Scale * 100 / 138 + 1e-7);
    }

    [Theory]
    [InlineData(2.0001f)]
    [InlineData(-3f)]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void Encode_OfAValueOutsideOfTheRange_IsRefusedByName(float value)
    {
        var encoding = new FixedPointEncoding(3, 2f, 1);

        var exception = Assert.Throws<SoraException>(() => encoding.Encode([0f, value], 1, first: 40, new uint[2]));

        Assert.Contains("Parameter 41", exception.Message);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(101)]
    [InlineData(-1)]
    public void Encode_WithAWeightOutsideOfTheRange_IsRefused(int weight) =>
        Assert.Throws<SoraException>(() => new FixedPointEncoding(3, 2f, 100).Encode([0f], weight, 0, new uint[1]));

    [Theory]
    [InlineData(0, 1f, 1)]
    [InlineData(10_000_000, 1f, 1)]
    [InlineData(4, 0f, 1)]
    [InlineData(4, float.NaN, 1)]
    [InlineData(4, float.PositiveInfinity, 1)]
    [InlineData(4, 1f, 0)]
    [InlineData(4, 1f, 1 << 30)] // the weights of four sites would wrap to 0
    public void Encoding_ThatCouldOverflow_CannotBeMade(int sites, float range, int maximumWeight) =>
        Assert.Throws<SoraException>(() => new FixedPointEncoding(sites, range, maximumWeight));
}
