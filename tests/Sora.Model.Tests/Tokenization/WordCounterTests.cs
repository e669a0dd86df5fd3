using System.Text;
using Sora.Model.Tokenization;

namespace Sora.Model.Tests.Tokenization;

public class WordCounterTests
{
    [Fact]
    public void Count_Texts_CountsPreSplitWords()
    {
        var counts = WordCounter.Count(["the cat", "the cat's"]).ToDictionary(entry => Encoding.UTF8.GetString(entry.Word), entry => entry.Count);
        Assert.Equal(new Dictionary<string, long> { ["the"] = 2, [" cat"] = 2, ["'s"] = 1 }, counts);
    }

    [Fact]
    public void Count_TooManyWords_KeepsTheFrequentOnes()
    {
        var texts = Enumerable.Range(0, 1000).Select(number => $"often {number}");
        var counts = WordCounter.Count(texts, mostWords: 100).ToDictionary(entry => Encoding.UTF8.GetString(entry.Word), entry => entry.Count);
        Assert.True(counts.Count <= 100);
        Assert.Equal(1000, counts["often"]);
    }
}
