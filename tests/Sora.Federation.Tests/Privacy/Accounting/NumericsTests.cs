using CsCheck;
using Sora.Federation.Privacy;

namespace Sora.Federation.Tests.Privacy.Accounting;

public class NumericsTests
{
    // From the C library's erfc.
    [Theory]
    [InlineData(0.1, 0.460172162722971)]
    [InlineData(0.7, 0.24196365222307306)]
    [InlineData(1.99, 0.023295467750211837)]
    [InlineData(2.0, 0.02275013194817922)]
    [InlineData(4.0, 3.1671241833119965e-05)]
    [InlineData(8.0, 6.220960574271819e-16)]
    [InlineData(12.0, 1.776482112077702e-33)]
    [InlineData(30.0, 4.906713927148764e-198)]
    public void Normal_tails_to_all_digits(double x, double above)
    {
        Assert.Equal(1, NormalDistribution.Above(x) / above, 1e-12);
        Assert.Equal(1 - above, NormalDistribution.Above(-x), 1e-15);
    }

    [Fact]
    public void Logarithm_and_exponential_near_zero()
    {
        Gen.Double[-0.9, 0.9].Sample(x => Assert.Equal(x, NormalDistribution.ExpMinusOne(NormalDistribution.LogOnePlus(x)), 1e-15));
        Assert.Equal(1e-20, NormalDistribution.LogOnePlus(1e-20));
        Assert.Equal(1e-20, NormalDistribution.ExpMinusOne(1e-20));
        Assert.Equal(1e-8 + 5e-17, NormalDistribution.ExpMinusOne(1e-8), 1e-23);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(16)]
    [InlineData(8192)]
    public void A_transform_multiplies_polynomials(int size)
    {
        var random = new Random(7);
        var (a, b) = (Values(), Values());
        var expected = new double[size];
        foreach (var i in Enumerable.Range(0, Math.Min(size, 50)))
        {
            for (var j = 0; j < size; j++) expected[(i + j) % size] += (i < size ? a[i] : 0) * b[j];
        }
        for (var i = 50; i < size; i++) a[i] = 0;
        var (ai, bi) = (new double[size], new double[size]);
        var transform = new FourierTransform(size);
        transform.Forward(a, ai);
        transform.Forward(b, bi);
        for (var k = 0; k < size; k++) (a[k], ai[k]) = (a[k] * b[k] - ai[k] * bi[k], a[k] * bi[k] + ai[k] * b[k]);
        transform.Inverse(a, ai);

        for (var j = 0; j < size; j++) Assert.Equal(expected[j], a[j] / size, 1e-12);

        double[] Values() => [.. Enumerable.Range(0, size).Select(_ => random.NextDouble() - 0.5)];
    }
}
