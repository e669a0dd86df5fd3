using Sora.Federation.SecureAggregation;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.SecureAggregation;

public class MaskedSumTests
{
    private static readonly FixedPointEncoding Encoding = new(4, 1f, 1);

    [Fact]
    public void Chunks_OfSeveralSitesInTurn_AddUp()
    {
        var sum = new MaskedSum(3, ["a", "b"]);

        Assert.Equal(MaskedInputProgress.Taken, sum.Add(new("a", 0, new uint[] { 1, 2 })));
        Assert.Equal(MaskedInputProgress.Taken, sum.Add(new("b", 0, new uint[] { uint.MaxValue })));
        Assert.Equal(MaskedInputProgress.Complete, sum.Add(new("b", 1, new uint[] { 20, 30 })));
        Assert.Equal(MaskedInputProgress.Complete, sum.Add(new("a", 2, new uint[] { 3 })));

        Assert.Equal(["a", "b"], sum.Close().Order());
        var result = sum.Unmask([], Encoding);
        Assert.Equal([0u, 22u], result.Encoded.ToArray());
        Assert.Equal(33, result.TotalWeight);
    }

    [Fact]
    public void AnInputThatStaysIncomplete_NeverWasInTheSum()
    {
        var sum = new MaskedSum(3, ["a", "b", "c"], slots: 1);
        sum.Add(new("a", 0, new uint[] { 7, 7 }));
        sum.Abandon("a");
        Assert.Equal(MaskedInputProgress.Complete, sum.Add(new("b", 0, new uint[] { 1, 2, 3 })));
        sum.Add(new("c", 0, new uint[] { 9, 9 }));

        Assert.Equal(["b"], sum.Close());

        Assert.Equal(MaskedInputProgress.Refused, sum.Add(new("c", 2, new uint[] { 9 })));
        Assert.Equal([1u, 2u], sum.Unmask([], Encoding).Encoded.ToArray());
    }

    [Fact]
    public void ASiteWithoutASlot_WaitsUntilAnotherIsDone()
    {
        var sum = new MaskedSum(2, ["a", "b"], slots: 1);
        sum.Add(new("a", 0, new uint[] { 1 }));

        Assert.Equal(MaskedInputProgress.Wait, sum.Add(new("b", 0, new uint[] { 2, 2 })));
        sum.Add(new("a", 1, new uint[] { 1 }));
        Assert.Equal(MaskedInputProgress.Complete, sum.Add(new("b", 0, new uint[] { 2, 2 })));
    }

    [Fact]
    public void Memory_DoesNotGrowWithTheNumberOfSites()
    {
        long BytesAfter(int sites)
        {
            string[] names = [.. Enumerable.Range(0, sites).Select(site => $"{site}")];
            var sum = new MaskedSum(1000, names, slots: 2);
            foreach (var name in names)
                sum.Add(new(name, 0, new uint[500]));
            return sum.BufferBytes;
        }

        Assert.Equal(BytesAfter(4), BytesAfter(64));
        Assert.Equal(3 * 1000 * sizeof(uint), BytesAfter(64));
    }

    [Fact]
    public void AChunkSentAgain_CountsOnce()
    {
        var sum = new MaskedSum(3, ["a"]);
        sum.Add(new("a", 0, new uint[] { 1, 2 }));

        Assert.Equal(MaskedInputProgress.Taken, sum.Add(new("a", 0, new uint[] { 1, 2 })));
        Assert.Equal(MaskedInputProgress.Complete, sum.Add(new("a", 2, new uint[] { 3 })));
        Assert.Equal(MaskedInputProgress.Complete, sum.Add(new("a", 2, new uint[] { 3 })));

        sum.Close();
        Assert.Equal([1u, 2u], sum.Unmask([], Encoding).Encoded.ToArray());
    }

    [Theory]
    [InlineData(2, 1)] // a gap
    [InlineData(0, 4)] // longer than the update
    [InlineData(-1, 1)]
    public void AChunkThatDoesNotFit_IsRefused(long first, int length)
    {
        var sum = new MaskedSum(3, ["a"]);

        Assert.Throws<SoraException>(() => sum.Add(new("a", first, new uint[length])));
    }

    [Fact]
    public void ASiteThatDidNotShareItsKeys_CannotSpoilTheSum()
    {
        var sum = new MaskedSum(1, ["a"]);

        Assert.Equal(MaskedInputProgress.Refused, sum.Add(new("b", 0, new uint[] { 1 })));
        Assert.Empty(sum.Close());
    }
}
