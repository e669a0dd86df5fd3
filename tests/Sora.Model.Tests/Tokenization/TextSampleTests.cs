using Sora.Model.Tokenization;

namespace Sora.Model.Tests.Tokenization;

public class TextSampleTests
{
    [Fact]
    public void Draw_LittleText_TakesAll()
    {
        string[] documents = ["one", "", "two"];
        Assert.Equal(["one", "two"], Draw(documents, 100, 1000));
    }

    [Fact]
    public void Draw_MuchText_IsEvenlySpreadAndBounded()
    {
        var documents = Enumerable.Range(0, 1000).Select(number => $"{number:D10}");
        var sample = Draw(documents, 1000, long.MaxValue).Select(int.Parse).ToArray();
        Assert.InRange(sample.Length, 50, 100);
        Assert.Single(sample.Zip(sample.Skip(1), (a, b) => b - a).Distinct());
        Assert.True(sample[^1] > 980);
    }

    [Fact]
    public void Draw_OneHugeDocument_IsSampledToItsEndWithoutCuttingWords()
    {
        var document = string.Join(' ', Enumerable.Range(100_000, 200_000));
        var sample = Draw([document], 300_000, long.MaxValue);
        Assert.InRange(sample.Sum(piece => piece.Length), 150_000, 300_000);
        Assert.All(sample, piece => Assert.All(piece.Split(' ', StringSplitOptions.RemoveEmptyEntries), word => Assert.Equal(6, word.Length)));
        Assert.Contains(sample, piece => piece.Contains(" 249", StringComparison.Ordinal));
    }

    [Fact]
    public void Draw_ScannedEnough_Stops()
    {
        var read = 0;
        IEnumerable<string> Endless()
        {
            while (true)
            {
                read++;
                yield return "0123456789";
            }
        }
        Draw(Endless(), 50, 1000);
        Assert.Equal(100, read);
    }

    private static IReadOnlyList<string> Draw(IEnumerable<string> documents, long wanted, long scanned) =>
        TextSample.Draw(documents, wanted, scanned, TestContext.Current.CancellationToken);
}
