using Sora.Model.Privacy;

namespace Sora.Model.Tests.Privacy;

public class GaussianNoiseTests
{
    private static readonly byte[] _secret = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];

    [Fact]
    public void Fill_HasTheMomentsOfTheNormalDistribution()
    {
        const int Count = 200_000;
        const double Deviation = 3;
        var values = Draw(Count, deviation: Deviation).Select(value => value / Deviation).ToArray();

        // Five standard errors of each moment of 200,000 numbers; the seed is fixed.
        Assert.Equal(0, values.Average(), 5 / Math.Sqrt(Count));
        Assert.Equal(1, values.Average(value => value * value), 5 * Math.Sqrt(2.0 / Count));
        Assert.Equal(0, values.Average(value => value * value * value), 5 * Math.Sqrt(15.0 / Count));
        Assert.Equal(3, values.Average(value => value * value * value * value), 5 * Math.Sqrt(96.0 / Count));
        Assert.Equal(0.682689, values.Count(value => Math.Abs(value) < 1) / (double)Count, 0.006);
        Assert.Equal(0, values.Zip(values.Skip(1), (one, next) => one * next).Average(), 5 / Math.Sqrt(Count));
    }

    [Fact]
    public void Fill_IsTheSameForSecretContextAndStep_AndAnotherForAnyOther()
    {
        var noise = Draw(100);

        Assert.Equal(noise, Draw(100));
        Assert.Empty(noise.Intersect(Draw(100, step: 8)));
        Assert.Empty(noise.Intersect(Draw(100, context: "site-b")));
        Assert.Empty(noise.Intersect(Draw(100, secret: [.. _secret[..31], 0])));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(511)]
    [InlineData(512)]
    [InlineData(700)]
    public void Fill_InParts_GivesTheSameAsAtOnce(int first)
    {
        var whole = Draw(2000);
        var parts = new float[2000];
        using var noise = new GaussianNoise(_secret, "site-a", 7);

        noise.Fill(parts.AsSpan(first), first, 1);
        noise.Fill(parts.AsSpan(0, first), 0, 1);

        Assert.Equal(whole, parts);
    }

    private static float[] Draw(int count, byte[]? secret = null, string context = "site-a", long step = 7, double deviation = 1)
    {
        var values = new float[count];
        using var noise = new GaussianNoise(secret ?? _secret, context, step);
        noise.Fill(values, 0, deviation);
        return values;
    }
}
