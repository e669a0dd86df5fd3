using Sora.Model.Tokenization;

namespace Sora.Model.Tests.Tokenization;

public class TokenizerSummaryTests
{
    [Fact]
    public void Of_Text_MeasuresIt()
    {
        var summary = TokenizerSummary.Of(new ByteTokenizer(), "\u4F60a");
        Assert.Equal(("byte", 257, 256, 1.0, true), (summary.Kind, summary.VocabSize, summary.EndOfText, summary.BytesPerToken, summary.IsLossless));
        var chinese = summary.Samples[^1];
        Assert.Equal(["<E4>", "<BD>", "<A0>"], chinese.Pieces.Take(3));
        Assert.Equal("H", summary.Samples[0].Pieces[0]);
    }
}
