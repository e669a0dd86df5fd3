using CsCheck;
using Sora.Model.Data;

namespace Sora.Model.Tests.Data;

public class KeyedPermutationTests
{
    [Fact]
    public void Indexer_AnyLengthAndKey_VisitsEveryValueOnce() =>
        Gen.Select(Gen.Int[1, 3000], Gen.ULong).Sample((length, key) =>
        {
            var permutation = new KeyedPermutation(length, key);
            var seen = new bool[length];
            for (var i = 0; i < length; i++) seen[permutation[i]] = true;
            Assert.DoesNotContain(false, seen);
        }, iter: 200);

    [Fact]
    public void Indexer_HugeLength_StaysInside() =>
        Gen.Select(Gen.Long[1, 1L << 60], Gen.ULong, Gen.Double[0, 0.999]).Sample((length, key, where) =>
        {
            var image = new KeyedPermutation(length, key)[(long)(where * length)];
            Assert.InRange(image, 0, length - 1);
        }, iter: 1000);

    [Fact]
    public void Indexer_OtherKey_OtherOrder()
    {
        var one = new KeyedPermutation(1000, 1);
        var other = new KeyedPermutation(1000, 2);
        Assert.True(Enumerable.Range(0, 1000).Count(i => one[i] == other[i]) < 20);
    }

    [Fact]
    public void Indexer_ManyKeys_SendsAnIndexEverywhereAboutEquallyOften()
    {
        const int length = 10, keys = 20_000;
        var counts = new int[length];
        for (ulong key = 0; key < keys; key++) counts[new KeyedPermutation(length, KeyedPermutation.Mix(7, key))[3]]++;
        // The standard deviation of a count is 42: seven of them are beyond chance.
        Assert.All(counts, count => Assert.InRange(count, (keys / length) - 300, (keys / length) + 300));
    }

    [Fact]
    public void Indexer_Outside_Throws() => Assert.Throws<ArgumentOutOfRangeException>(() => new KeyedPermutation(5, 1)[5]);
}
