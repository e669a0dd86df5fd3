using System.Buffers.Binary;
using System.Security.Cryptography;
using CsCheck;
using Sora.Federation.SecureAggregation;

namespace Sora.Federation.Tests.SecureAggregation;

public class ShamirSharingTests
{
    private const ulong Prime = (1UL << 61) - 1;

    [Fact]
    public void Split_WithKnownCoefficients_GivesTheSharesComputedByHand()
    {
        // The secret's bytes are 1, 2, ..., 32, so its limbs of 7 bytes, little-endian, are the numbers below (the last has 4).
        byte[] secret = [.. Enumerable.Range(1, 32).Select(i => (byte)i)];
        ulong[] limbs = [0x07060504030201, 0x0E0D0C0B0A0908, 0x1514131211100F, 0x1C1B1A19181716, 0x201F1E1D];
        // Threshold 3 draws two coefficients a limb: f(x) = limb + 2 x + x^2.
        var random = new FixedNumbers(2, 1);

        var shares = ShamirSharing.Split(secret, threshold: 3, [1, 2, 5], random);

        foreach (var (share, added) in shares.Zip([3UL, 8UL, 35UL])) // f(1), f(2), f(5) less the limb
            Assert.Equal(limbs.Select(limb => limb + added), Numbers(share));
    }

    [Fact]
    public void Split_WhereThePolynomialPassesThePrime_WrapsRound()
    {
        // f(x) = 0 + (p - 1) x, so f(2) = 2 p - 2 = p - 2 and f(3) = p - 3.
        var shares = ShamirSharing.Split(new byte[32], threshold: 2, [2, 3], new FixedNumbers(Prime - 1));

        Assert.All(Numbers(shares[0]), number => Assert.Equal(Prime - 2, number));
        Assert.All(Numbers(shares[1]), number => Assert.Equal(Prime - 3, number));
    }

    [Fact]
    public void Combine_OfSharesComputedByHand_GivesTheSecret()
    {
        // From the second test: the secret 0 on a line through (2, p - 2) and (3, p - 3).
        Assert.True(ShamirSharing.TryCombine([(2, Share(Prime - 2)), (3, Share(Prime - 3))], out var secret));
        Assert.Equal(new byte[32], secret);
        // A parabola x^2 + 2 x + 7 through (1, 10), (2, 15), (5, 42): every limb is 7.
        Assert.True(ShamirSharing.TryCombine([(5, Share(42)), (1, Share(10)), (2, Share(15))], out secret));
        byte[] sevens = new byte[32];
        foreach (var start in new[] { 0, 7, 14, 21, 28 })
            sevens[start] = 7;
        Assert.Equal(sevens, secret);
    }

    [Fact]
    public void AnyThresholdOfShares_RestoreTheSecret() => Gen.Select(Gen.Byte.Array[32], Gen.Int[1, 12], Gen.Int[0, 20], Gen.Int)
        .Sample((secret, threshold, spare, seed) =>
        {
            int[] points = [.. Enumerable.Range(1, threshold + spare)];
            using var random = new SeededRandom(seed);
            var shares = ShamirSharing.Split(secret, threshold, points, random);
            var chosen = points.ToArray();
            new Random(seed).Shuffle(chosen);

            Assert.True(ShamirSharing.TryCombine([.. chosen.Take(threshold).Select(point => (point, shares[point - 1]))], out var restored));
            Assert.Equal(secret, restored);
        }, iter: 300);

    [Fact]
    public void SecretsAtTheEdges_AreRestoredExactly()
    {
        byte[] ones = [.. Enumerable.Repeat((byte)255, 32)];
        using var random = RandomNumberGenerator.Create();

        var shares = ShamirSharing.Split(ones, 2, [1, 2], random);

        Assert.True(ShamirSharing.TryCombine([(1, shares[0]), (2, shares[1])], out var restored));
        Assert.Equal(ones, restored);
    }

    [Fact]
    public void FewerSharesThanTheThreshold_FitEverySecret()
    {
        // Two shares of three lie on a parabola through any third point: each value at 0 is as likely as another.
        var shares = ShamirSharing.Split(new byte[32], 3, [1, 2, 3], new FixedNumbers(2, 1));

        Assert.True(ShamirSharing.TryCombine([(1, shares[0]), (2, shares[1]), (3, Share(20))], out var other));
        Assert.NotEqual(new byte[32], other); // the true third share is 15; 20 gives 3 * 3 - 3 * 8 + 20 = 5 at 0
    }

    [Fact]
    public void Shares_ThatAreNoNumbersOfTheField_AreRefused()
    {
        Assert.False(ShamirSharing.TryCombine([(1, Share(Prime))], out _));
        Assert.False(ShamirSharing.TryCombine([(1, new byte[39])], out _));
        Assert.False(ShamirSharing.TryCombine([], out _));
        Assert.False(ShamirSharing.TryCombine([(1, Share(1UL << 57))], out _)); // larger than any limb
    }

    private static byte[] Share(ulong number)
    {
        var share = new byte[ShamirSharing.ShareBytes];
        for (var i = 0; i < share.Length; i += sizeof(ulong))
            BinaryPrimitives.WriteUInt64LittleEndian(share.AsSpan(i), number);
        return share;
    }

    private static ulong[] Numbers(byte[] share) => [.. share.Chunk(sizeof(ulong)).Select(chunk => BinaryPrimitives.ReadUInt64LittleEndian(chunk))];

    /// <summary>"Random" numbers of 64 bits, over and over.</summary>
    private sealed class FixedNumbers(params ulong[] numbers) : RandomNumberGenerator
    {
        private int _next;

        public override void GetBytes(byte[] data) => GetBytes(data.AsSpan());

        public override void GetBytes(Span<byte> data)
        {
            for (; !data.IsEmpty; data = data[sizeof(ulong)..])
                BinaryPrimitives.WriteUInt64LittleEndian(data, numbers[_next++ % numbers.Length]);
        }
    }
}
