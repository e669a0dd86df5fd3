using System.Numerics;
using CsCheck;
using Sora.Federation.Aggregation.Sums;

namespace Sora.Federation.Tests.Aggregation.Sums;

public class ExactSumTests
{
    private static readonly Gen<float> Value = Gen.Select(Gen.Int[-100, 15], Gen.Double[-1, 1], (exponent, mantissa) => (float)(mantissa * Math.Pow(2, exponent)));
    private static readonly Gen<double> Weight = Gen.OneOf(Gen.Long[1, 1L << 32].Select(w => (double)w), Gen.Double[1.0 / 65536, 4]).Select(ExactSum.Representable);

    [Fact]
    public void Any_order_gives_the_same_limbs() =>
        Gen.Select(Gen.Select(Value, Weight).Array[1, 60], Gen.Int).Sample((terms, seed) =>
        {
            var shuffled = terms.ToArray();
            new Random(seed).Shuffle(shuffled);
            Assert.Equal(Sum(terms), Sum(shuffled));
        });

    [Fact]
    public void A_sum_is_exact_but_for_the_last_bit_of_each_term() =>
        Gen.Select(Value, Weight).Array[1, 60].Sample(terms =>
        {
            var exact = BigInteger.Zero;
            foreach (var (value, weight) in terms)
                exact += InUnitsOf2ToMinus300(value * weight);
            var (high, low) = Sum(terms);
            var sum = ((new BigInteger(high) << 62) + low) << (300 - 56);
            Assert.True(BigInteger.Abs(sum - exact) <= terms.Length * (BigInteger.One << (300 - 57)));
            Assert.InRange(low, 0, (1L << 62) - 1);
        });

    [Fact]
    public void The_largest_terms_and_their_opposites_leave_nothing()
    {
        var (high, low) = (0L, 0L);
        foreach (var sign in new[] { 1, -1 })
            for (var i = 0; i < 1000; i++)
                ExactSum.Add(sign * (double)ExactSum.MaxMagnitude * ExactSum.MaxWeight, ref high, ref low);
        Assert.Equal((0L, 0L), (high, low));
        // 2^20 terms of 2^48 are 2^68, in units of 2^6: 2^62, inside a long.
        Assert.True((double)ExactSum.MaxMagnitude * ExactSum.MaxWeight * ExactSum.MaxTerms / 64 < long.MaxValue);
    }

    [Theory]
    [InlineData(1e-15)]
    [InlineData(-1e-15)]
    [InlineData(-3.25)]
    [InlineData(123456.789)]
    public void Value_gives_small_and_negative_sums_back_precisely(double term)
    {
        var (high, low) = (0L, 0L);
        ExactSum.Add(term, ref high, ref low);
        Assert.Equal(term, ExactSum.Value(high, low), Math.Pow(2, -56));
    }

    [Fact]
    public void Representable_keeps_counts_and_never_rounds_up()
    {
        Assert.Equal(536870911, ExactSum.Representable(536870911));
        Gen.Double[1e-9, 1e9].Sample(weight =>
        {
            var representable = ExactSum.Representable(weight);
            Assert.InRange(representable, weight * (1 - Math.Pow(2, -28)), weight);
        });
    }

    private static (long High, long Low) Sum((float Value, double Weight)[] terms)
    {
        var (high, low) = (new long[1], new long[1]);
        foreach (var (value, weight) in terms)
            ExactSum.Add([value], weight, high, low);
        return (high[0], low[0]);
    }

    private static BigInteger InUnitsOf2ToMinus300(double value)
    {
        var bits = BitConverter.DoubleToInt64Bits(value);
        var exponent = (int)((bits >> 52) & 0x7FF);
        var mantissa = (bits & 0xFFFFFFFFFFFFFL) | (exponent == 0 ? 0 : 1L << 52);
        var shift = Math.Max(exponent, 1) - 1075 + 300;
        var magnitude = shift >= 0 ? new BigInteger(mantissa) << shift : new BigInteger(mantissa) >> -shift;
        return value < 0 ? -magnitude : magnitude;
    }
}
