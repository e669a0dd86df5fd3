using Sora.Cli.Data;
using Sora.Model.Data;

namespace Sora.Cli.Tests.Data;

public class CorpusSummaryTests
{
    [Theory]
    [InlineData(0.01, 510, 490, true)]   // two documents, one of them held out
    [InlineData(0.01, 960, 40, false)]   // little text: four times as much is still little
    [InlineData(0.10, 750, 250, false)]
    [InlineData(0.10, 650, 350, true)]
    [InlineData(0, 500, 500, false)]     // nothing was asked for: a corpus of another kind
    public void Far_more_text_held_out_than_was_asked_for_is_told(double asked, long train, long validation, bool told)
    {
        var manifest = new CorpusManifest
        {
            FormatVersion = CorpusManifest.CurrentFormatVersion,
            Dtype = "uint16",
            PieceBytes = 4,
            Tokenizer = new ManifestTokenizer("byte", 257, 256, []),
            Train = new ManifestSplit(1, train, train, []),
            Validation = new ManifestSplit(1, validation, validation, []),
            ValidationSplit = asked,
            Sources = [],
        };
        Assert.Equal(told, CorpusSummary.Surplus(manifest, "--validation-split 0")?.EndsWith("train on all of it with --validation-split 0", StringComparison.Ordinal) == true);
    }
}
