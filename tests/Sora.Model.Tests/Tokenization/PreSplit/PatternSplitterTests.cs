using System.Text.RegularExpressions;
using CsCheck;
using Sora.Model.Tokenization.PreSplit;

namespace Sora.Model.Tests.Tokenization.PreSplit;

public class PatternSplitterTests
{
    public static TheoryData<string, string> Patterns => new()
    {
        { "gpt2", Gpt2Splitter.Pattern },
        { "cl100k", Cl100kSplitter.Pattern },
        { "llama3", Cl100kSplitter.Llama3Pattern },
        { "qwen2", Cl100kSplitter.Qwen2Pattern },
        { "o200k", O200kSplitter.Pattern },
    };

    [Theory]
    [MemberData(nameof(Patterns))]
    public void Words_are_the_matches_of_the_regular_expression(string name, string pattern)
    {
        var splitter = Splitter(name);
        var regex = new Regex(pattern, RegexOptions.CultureInvariant);
        RandomText.BasicPlane.Sample(text => Assert.Equal(regex.Matches(text).Select(match => match.Value), splitter.Split(text)), iter: 4000);
    }

    [Theory]
    [MemberData(nameof(Patterns))]
    public void Words_join_to_the_text(string name, string _)
    {
        var splitter = Splitter(name);
        RandomText.Any.Sample(text => Assert.Equal(text, string.Concat(splitter.Split(text))));
    }

    [Fact]
    public void A_letter_beyond_the_basic_plane_is_a_letter()
    {
        // GOTHIC LETTER AHSA and FAIHU, MATHEMATICAL BOLD DIGIT ZERO: one word of letters, then one of numbers.
        Assert.Equal(["\U00010330x\U00010336", "\U0001D7CE1"], new Gpt2Splitter().Split("\U00010330x\U00010336\U0001D7CE1"));
    }

    [Fact]
    public void A_lone_surrogate_is_a_character_of_no_class() => Assert.Equal(["a", "\uD83D", "b"], new Gpt2Splitter().Split("a\uD83Db"));

    [Fact]
    public void A_pattern_of_ones_own_is_matched_by_code_points()
    {
        Assert.Null(RegexSplitter.WhyNot(@"\p{N}{1,3}|\p{L}+| ?[\p{P}\p{S}]+"));
        var splitter = new RegexSplitter(@"\p{N}{1,3}|\p{L}+| ?[\p{P}\p{S}]+");
        Assert.Equal(["a\U00010330", "\U0001D7CE\U0001D7CF1", "2", " ", " \U0001F600", "b"], splitter.Split("a\U00010330\U0001D7CE\U0001D7CF12  \U0001F600b"));
    }

    [Theory]
    [InlineData(@"\p{Han}+")]
    [InlineData(@"[\p{L}&&[^a]]+")]
    [InlineData(@"\w+")]
    [InlineData(@"\p{L}++")]
    [InlineData(@"\s+$")]
    [InlineData(@"a*")]
    [InlineData(@"[")]
    [InlineData("[\U00010400-\U0001044F]+")]
    public void WhyNot_PatternOfAnotherMeaning_GivesTheReason(string pattern) => Assert.NotNull(RegexSplitter.WhyNot(pattern));

    [Theory]
    [InlineData(LiteralJoin.Alone, new[] { "a", "_", "_", "b", "_" })]
    [InlineData(LiteralJoin.Previous, new[] { "a_", "_", "b_" })]
    [InlineData(LiteralJoin.Next, new[] { "a", "_", "_b", "_" })]
    internal void Literals_go_where_they_belong(LiteralJoin join, string[] words) => Assert.Equal(words, new LiteralSplitter("_", join).Split("a__b_"));

    [Fact]
    public void Digits_stand_apart()
    {
        Assert.Equal(["ab", "12", "c"], new DigitSplitter(each: false).Split("ab12c"));
        Assert.Equal(["ab", "1", "2", "c"], new DigitSplitter(each: true).Split("ab12c"));
    }

    private static PreSplitter Splitter(string name) => name switch
    {
        "gpt2" => new Gpt2Splitter(),
        "cl100k" => new Cl100kSplitter(digits: 3, keepsTrailingSpace: true),
        "llama3" => new Cl100kSplitter(digits: 3, keepsTrailingSpace: false),
        "qwen2" => new Cl100kSplitter(digits: 1, keepsTrailingSpace: false),
        _ => new O200kSplitter(),
    };
}
