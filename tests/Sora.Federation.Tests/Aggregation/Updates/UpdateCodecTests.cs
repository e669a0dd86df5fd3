using System.Buffers.Binary;
using CsCheck;
using Sora.Federation.Aggregation.Updates;

namespace Sora.Federation.Tests.Aggregation.Updates;

public class UpdateCodecTests
{
    private static readonly Gen<float[]> Values = Gen.Select(Gen.Int[-40, 15], Gen.Double[-1, 1].Array[1, 700], (exponent, mantissas) =>
        mantissas.Select(mantissa => (float)(mantissa * Math.Pow(2, exponent))).ToArray());

    [Fact]
    public void Float32_is_exact() => Values.Sample(values => Assert.Equal(values, RoundTrip(UpdateEncoding.Float32, values)));

    [Fact]
    public void Float16_is_off_by_no_more_than_its_bound() =>
        Values.Sample(values =>
        {
            var decoded = RoundTrip(UpdateEncoding.Float16, values);
            for (var i = 0; i < values.Length; i++)
                Assert.True(Math.Abs((double)decoded[i] - values[i]) <= Math.Max(Math.Abs(values[i]) / 2048.0, Math.Pow(2, -25)), $"{values[i]} became {decoded[i]}");
        });

    [Theory]
    [InlineData(RoundingMode.Nearest, 0.5)]
    [InlineData(RoundingMode.Stochastic, 1)]
    public void Int8_is_off_by_no_more_than_its_bound(RoundingMode rounding, double scales) =>
        Gen.Select(Values, Gen.ULong).Sample((values, seed) =>
        {
            var decoded = RoundTrip(UpdateEncoding.Int8, values, rounding, seed);
            foreach (var start in Enumerable.Range(0, (values.Length + 255) / 256).Select(block => block * 256))
            {
                var block = values.Skip(start).Take(256).ToArray();
                var scale = block.Max(Math.Abs) / 127.0;
                for (var i = 0; i < block.Length; i++)
                    Assert.True(Math.Abs((double)decoded[start + i] - block[i]) <= scale * scales * 1.0001 + 127 * float.Epsilon, $"{block[i]} became {decoded[start + i]}");
            }
        });

    [Fact]
    public void Stochastic_rounding_is_right_on_average()
    {
        // Every value lies between two steps of the scale 1/127; over 2000 seeds the mean comes within 5 standard errors (0.5/127/sqrt(2000)).
        float[] values = [1, 0.3f, -0.71f, 0.002f, 0.5f];
        var mean = new double[values.Length];
        for (var seed = 0UL; seed < 2000; seed++)
            foreach (var (i, value) in RoundTrip(UpdateEncoding.Int8, values, RoundingMode.Stochastic, seed).Index())
                mean[i] += value / 2000.0;
        for (var i = 0; i < values.Length; i++)
            Assert.Equal(values[i], mean[i], 5 * 0.5 / 127 / Math.Sqrt(2000));
    }

    [Fact]
    public void Stochastic_rounding_depends_on_the_seed_alone_not_on_how_an_update_is_cut()
    {
        var values = RoundTesting.Values(3, 1000);
        var whole = Encode(UpdateEncoding.Int8, values, 0, RoundingMode.Stochastic, 7);
        var parts = Encode(UpdateEncoding.Int8, values[..512], 0, RoundingMode.Stochastic, 7).Concat(Encode(UpdateEncoding.Int8, values[512..], 512, RoundingMode.Stochastic, 7));
        Assert.Equal(whole, parts);
        Assert.NotEqual(whole, Encode(UpdateEncoding.Int8, values, 0, RoundingMode.Stochastic, 8));
    }

    [Fact]
    public void Encodings_take_a_half_and_a_quarter()
    {
        Assert.Equal(4_000_000, UpdateCodec.EncodedBytes(UpdateEncoding.Float32, 1_000_000));
        Assert.Equal(2_000_000, UpdateCodec.EncodedBytes(UpdateEncoding.Float16, 1_000_000));
        Assert.Equal(1_000_000 + 3907 * 4, UpdateCodec.EncodedBytes(UpdateEncoding.Int8, 1_000_000));
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void What_is_not_finite_is_not_sent(float value)
    {
        foreach (var encoding in Enum.GetValues<UpdateEncoding>())
            Assert.Contains("Parameter 1", Assert.Throws<InvalidUpdateException>(() => Encode(encoding, [0, value])).Message);
    }

    [Fact]
    public void Float16_says_what_it_cannot_hold() =>
        Assert.Contains("65504", Assert.Throws<InvalidUpdateException>(() => Encode(UpdateEncoding.Float16, [70000])).Message);

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.NegativeInfinity)]
    [InlineData(-1f)]
    public void A_block_with_an_impossible_scale_is_refused(float scale)
    {
        var encoded = Encode(UpdateEncoding.Int8, [1, 2, 3]);
        BinaryPrimitives.WriteSingleLittleEndian(encoded, scale);
        Assert.Contains("scale", Assert.Throws<InvalidUpdateException>(() => UpdateCodec.Decode(UpdateEncoding.Int8, encoded, 0, new float[3])).Message);
    }

    [Fact]
    public void Any_bytes_decode_to_finite_numbers_or_are_refused() =>
        Gen.Select(Gen.Enum<UpdateEncoding>(), Gen.Int[1, 600], Gen.Int).Sample((encoding, count, seed) =>
        {
            var bytes = new byte[UpdateCodec.EncodedBytes(encoding, count)];
            new Random(seed).NextBytes(bytes);
            var values = new float[count];
            try
            {
                UpdateCodec.Decode(encoding, bytes, 0, values);
                Assert.All(values, value => Assert.True(float.IsFinite(value)));
            }
            catch (InvalidUpdateException e)
            {
                Assert.NotEmpty(e.Message);
            }
        });

    [Fact]
    public void Bytes_that_are_too_few_or_too_many_are_refused() =>
        Gen.Select(Gen.Enum<UpdateEncoding>(), Gen.Int[1, 600], Gen.OneOfConst(-1, 1, 7)).Sample((encoding, count, extra) =>
            Assert.Throws<InvalidUpdateException>(() => UpdateCodec.Decode(encoding, new byte[Math.Max(0, UpdateCodec.EncodedBytes(encoding, count) + extra)], 0, new float[count])));

    private static byte[] Encode(UpdateEncoding encoding, float[] values, long first = 0, RoundingMode rounding = RoundingMode.Nearest, ulong seed = 0)
    {
        var encoded = new byte[UpdateCodec.EncodedBytes(encoding, values.Length)];
        UpdateCodec.Encode(encoding, values, first, encoded, rounding, seed);
        return encoded;
    }

    private static float[] RoundTrip(UpdateEncoding encoding, float[] values, RoundingMode rounding = RoundingMode.Nearest, ulong seed = 0)
    {
        var decoded = new float[values.Length];
        UpdateCodec.Decode(encoding, Encode(encoding, values, 0, rounding, seed), 0, decoded);
        return decoded;
    }
}
