using System.Globalization;
using System.Runtime.InteropServices;
using CsCheck;
using Sora.Federation.SecureAggregation;

namespace Sora.Federation.Tests.SecureAggregation;

public class CounterStreamTests
{
    [Fact]
    public void Stream_IsAes256InCounterMode()
    {
        // NIST SP 800-38A, F.5.5 (CTR-AES256.Encrypt).
        var key = Convert.FromHexString("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        var counter = UInt128.Parse("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        var plain = Convert.FromHexString("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
            + "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
        var cipher = Convert.FromHexString("601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
            + "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6");
        using var stream = new CounterStream(key, counter);

        var words = new uint[plain.Length / sizeof(uint)];
        stream.Add(words, 0);

        Assert.Equal(cipher, MemoryMarshal.AsBytes(words.AsSpan()).ToArray().Zip(plain, (one, other) => (byte)(one ^ other)));
    }

    [Fact]
    public void Counter_CarriesOverAll128Bits()
    {
        var key = new byte[32];
        using var high = new CounterStream(key, UInt128.MaxValue);
        using var zero = new CounterStream(key);
        var wrapped = new uint[8];
        var start = new uint[4];

        high.Add(wrapped, 0);
        zero.Add(start, 0);

        Assert.Equal(start, wrapped[4..]);
    }

    [Fact]
    public void Parts_AddUpToTheWhole() => Gen.Select(Gen.Int[1, 9000], Gen.Int[0, 9000], Gen.Int[0, 5000]).Sample((length, cut, offset) =>
    {
        using var stream = new CounterStream(new byte[32]);
        var whole = new uint[length];
        var parts = new uint[length];
        cut = Math.Min(cut, length);

        stream.Add(whole, offset);
        stream.Add(parts.AsSpan(cut), offset + cut);
        stream.Add(parts.AsSpan(0, cut), offset);
        Assert.Equal(whole, parts);

        stream.Subtract(parts, offset);
        Assert.All(parts, value => Assert.Equal(0u, value));
    }, iter: 100);

    [Fact]
    public void Keys_AreTheFirst32BytesOfRfc5869()
    {
        // RFC 5869, A.1: HKDF-SHA256.
        var key = KeySchedule.Expand([.. Enumerable.Repeat((byte)0x0b, 22)], Convert.FromHexString("000102030405060708090a0b0c"),
            Convert.FromHexString("f0f1f2f3f4f5f6f7f8f9"));

        Assert.Equal("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf", Convert.ToHexStringLower(key));
    }

    [Fact]
    public void PairMask_IsTheSameForBothSites_AndOfThisRoundOnly()
    {
        byte[] agreed = [1, 2, 3];
        byte[] plan = [4, 5, 6];

        var key = KeySchedule.PairMask(agreed, plan, "a", "b");

        Assert.Equal(key, KeySchedule.PairMask(agreed, plan, "b", "a"));
        Assert.NotEqual(key, KeySchedule.PairMask(agreed, [4, 5, 7], "a", "b"));
        Assert.NotEqual(key, KeySchedule.PairMask(agreed, plan, "a", "c"));
        Assert.NotEqual(KeySchedule.PairMask(agreed, plan, "ab", "c"), KeySchedule.PairMask(agreed, plan, "a", "bc"));
    }

    [Fact]
    public void SealedShares_OpenForTheirPairRoundAndRosterOnly()
    {
        byte[] agreed = [1, 2, 3], plan = [4], roster = [5], plain = [9, 9, 9];
        var box = KeySchedule.Seal(agreed, plan, roster, "a", "b", plain);
        byte[] changed = [.. box];
        changed[0] ^= 1;

        Assert.Equal(plain, KeySchedule.Open(agreed, plan, roster, "a", "b", box));
        Assert.Null(KeySchedule.Open(agreed, plan, roster, "b", "a", box));
        Assert.Null(KeySchedule.Open(agreed, [6], roster, "a", "b", box));
        Assert.Null(KeySchedule.Open(agreed, plan, [6], "a", "b", box));
        Assert.Null(KeySchedule.Open([1, 2, 4], plan, roster, "a", "b", box));
        Assert.Null(KeySchedule.Open(agreed, plan, roster, "a", "b", changed));
        Assert.Null(KeySchedule.Open(agreed, plan, roster, "a", "b", [1]));
    }

    [Fact]
    public void P256_AgreesAndRestoresAKeyFromItsPrivatePart()
    {
        var agreement = new P256KeyAgreement();
        using var one = agreement.Generate();
        using var other = agreement.Generate();

        using var restored = agreement.Import(one.ExportPrivateKey());

        Assert.Equal(one.Agree(other.PublicKey), other.Agree(one.PublicKey));
        Assert.Equal(ShamirSharing.SecretBytes, one.ExportPrivateKey().Length);
        Assert.Equal(one.PublicKey, restored!.PublicKey);
        Assert.Equal(one.Agree(other.PublicKey), restored.Agree(other.PublicKey));
        Assert.Null(agreement.Import(new byte[32]));
    }

    [Fact]
    public void P256_KnowsAPointThatIsNotOnTheCurve()
    {
        var agreement = new P256KeyAgreement();
        using var key = agreement.Generate();
        byte[] off = [.. key.PublicKey];
        off[^1] ^= 1;

        Assert.True(agreement.IsPublicKey(key.PublicKey));
        Assert.False(agreement.IsPublicKey(off));
        Assert.False(agreement.IsPublicKey(key.PublicKey.AsSpan(1)));
        Assert.False(agreement.IsPublicKey(new byte[65]));
    }
}
