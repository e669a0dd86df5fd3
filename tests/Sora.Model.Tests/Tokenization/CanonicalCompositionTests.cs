using CsCheck;
using Sora.Model.Tokenization;

namespace Sora.Model.Tests.Tokenization;

public class CanonicalCompositionTests
{
    // From the examples of Unicode Standard Annex 15 and of the standard's section 3.12.
    [Theory]
    [InlineData("e\u0301", "\u00E9")]
    [InlineData("\u212B", "\u00C5")] // ANGSTROM SIGN decomposes for good
    [InlineData("\u0064\u0307\u0323", "\u1E0D\u0307")] // marks are put in order: dot below first
    [InlineData("\u1E0B\u0323", "\u1E0D\u0307")]
    [InlineData("\u0041\u030A\u0301", "\u01FA")]
    [InlineData("\u0915\u093C", "\u0915\u093C")] // excluded from composition
    [InlineData("\u0958", "\u0915\u093C")]
    [InlineData("\u1100\u1161\u11A8", "\uAC01")]
    [InlineData("\uAC00\u11A8", "\uAC01")]
    [InlineData("\u1100\uAC00\u11A8", "\u1100\uAC01")]
    [InlineData("a\u0345\u0301", "\u00E1\u0345")]
    [InlineData("\u0061\u05AE\u0301\u0301", "\u00E1\u05AE\u0301")]
    [InlineData("\uF900", "\u8C48")]
    [InlineData("\U0001D15E", "\U0001D157\U0001D165")]
    [InlineData("\U00011099\U000110BA", "\U0001109A")]
    [InlineData("plain \u4F60\u597D \U0001F600", "plain \u4F60\u597D \U0001F600")]
    public void Composes_as_the_standard_says(string text, string expected) => Assert.Equal(expected, Compose(text));

    [Fact]
    public void Composing_twice_changes_nothing() => RandomText.Any.Sample(text => Assert.Equal(Compose(text), Compose(Compose(text))));

    private static string Compose(string text) => new CanonicalComposition().TryNormalize(text, true, out var composed) ? composed : text;
}
