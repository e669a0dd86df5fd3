using static Sora.Model.Tokenization.PreSplit.CharacterClass;

namespace Sora.Model.Tokenization.PreSplit;

/// <summary>Parts that the patterns share.</summary>
internal static class PatternParts
{
    /// <summary>The length of <c>'s|'t|'re|'ve|'m|'ll|'d</c> at a place, or 0.</summary>
    public static int Contraction(ReadOnlySpan<char> text, int index, bool ignoreCase)
    {
        if (index + 1 >= text.Length || text[index] != '\'') return 0;
        var fold = ignoreCase ? 0x20 : 0; // setting this bit lowers ASCII capitals and makes no other character one of these letters
        var first = (char)(text[index + 1] | fold);
        if (first is 's' or 't' or 'm' or 'd') return 2;
        if (index + 2 >= text.Length) return 0;
        return (first, (char)(text[index + 2] | fold)) is ('r', 'e') or ('v', 'e') or ('l', 'l') ? 3 : 0;
    }

    /// <summary><c>\s+(?!\S)|\s+</c>: white space before a word leaves its last character to the word.</summary>
    public static int Spaces(ReadOnlySpan<char> text, int start)
    {
        var end = CharacterClasses.RunOf(Space, text, start);
        return end == text.Length || end == start + 1 ? end : end - 1;
    }

    /// <summary><c>\s*[\r\n]+|\s+(?!\S)|\s+</c>: white space up to its last line end.</summary>
    public static int SpacesByLine(ReadOnlySpan<char> text, int start)
    {
        var end = CharacterClasses.RunOf(Space, text, start);
        var newline = text[start..end].LastIndexOfAny('\r', '\n');
        return newline >= 0 ? start + newline + 1 : end == text.Length || end == start + 1 ? end : end - 1;
    }

    /// <summary><c>\p{N}{1,most}</c> where the first is known to be one.</summary>
    public static int Numbers(ReadOnlySpan<char> text, int start, int most)
    {
        var end = start;
        for (var i = 0; i < most && end < text.Length && (CharacterClasses.At(text, end, out var width) & Number) != 0; i++)
            end += width;
        return end;
    }
}

/// <summary>GPT-2's pattern.</summary>
internal sealed class Gpt2Splitter : PreSplitter
{
    public const string Pattern = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    public override int End(ReadOnlySpan<char> text, int start)
    {
        var contraction = PatternParts.Contraction(text, start, ignoreCase: false);
        if (contraction > 0) return start + contraction;
        var body = text[start] == ' ' && start + 1 < text.Length ? start + 1 : start;
        var first = CharacterClasses.At(text, body, out _);
        if ((first & Letter) != 0) return CharacterClasses.RunOf(Letter, text, body);
        if ((first & Number) != 0) return CharacterClasses.RunOf(Number, text, body);
        return (first & Space) == 0 ? CharacterClasses.RunOfOther(text, body) : PatternParts.Spaces(text, start);
    }
}

/// <summary>The pattern of cl100k and its descendants Llama 3 (3 digits a word) and Qwen 2 (1 digit a word).</summary>
/// <param name="digits">Most digits in a word.</param>
/// <param name="keepsTrailingSpace">White space at the very end is one word, even with line ends inside.</param>
internal sealed class Cl100kSplitter(int digits, bool keepsTrailingSpace) : PreSplitter
{
    // OpenAI's has possessive quantifiers, which not every engine knows, and ends with \s++$; this is equal.
    public const string Pattern =
        @"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+(?![\s\S])|\s*[\r\n]|\s+(?!\S)|\s";

    public const string Llama3Pattern =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    public const string Qwen2Pattern =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    public override int End(ReadOnlySpan<char> text, int start)
    {
        var contraction = PatternParts.Contraction(text, start, ignoreCase: true);
        if (contraction > 0) return start + contraction;
        var first = CharacterClasses.At(text, start, out var width);
        if ((first & Letter) != 0) return CharacterClasses.RunOf(Letter, text, start);
        if ((first & Number) != 0) return PatternParts.Numbers(text, start, digits);
        if ((first & Newline) == 0)
        {
            var letters = CharacterClasses.RunOf(Letter, text, start + width);
            if (letters > start + width) return letters;
        }
        var others = CharacterClasses.RunOfOther(text, text[start] == ' ' ? start + 1 : start);
        if ((first & Space) == 0 || (text[start] == ' ' && others > start + 1)) return CharacterClasses.RunOf(Newline, text, others);
        return keepsTrailingSpace && CharacterClasses.RunOf(Space, text, start) == text.Length ? text.Length : PatternParts.SpacesByLine(text, start);
    }
}

/// <summary>The pattern of o200k: words break at a change from lower to upper case.</summary>
internal sealed class O200kSplitter : PreSplitter
{
    public const string Pattern =
        @"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|" +
        @"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|" +
        @"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    public override int End(ReadOnlySpan<char> text, int start)
    {
        var first = CharacterClasses.At(text, start, out var width);
        if ((first & Number) != 0) return PatternParts.Numbers(text, start, 3);
        var word = Word(text, start, first, width);
        if (word > 0) return word + PatternParts.Contraction(text, word, ignoreCase: true);
        var others = CharacterClasses.RunOfOther(text, text[start] == ' ' ? start + 1 : start);
        if ((first & Space) != 0 && (text[start] != ' ' || others == start + 1)) return PatternParts.SpacesByLine(text, start);
        while (others < text.Length && text[others] is '\r' or '\n' or '/')
            others++;
        return others;
    }

    // The two word alternatives, each tried with and then without the optional first character, as a backtracking engine does.
    private static int Word(ReadOnlySpan<char> text, int start, CharacterClass first, int width)
    {
        var prefixed = (first & (Letter | Newline)) == 0 ? start + width : -1;
        if (prefixed > 0 && EndsInLower(text, prefixed) is > 0 and var a) return a;
        if (EndsInLower(text, start) is > 0 and var b) return b;
        if (prefixed > 0 && StartsInUpper(text, prefixed) is > 0 and var c) return c;
        return StartsInUpper(text, start);
    }

    // [Upper]*[Lower]+. Where the greedy first part swallowed all, it gives back up to the last character that is also Lower.
    private static int EndsInLower(ReadOnlySpan<char> text, int start)
    {
        var upper = CharacterClasses.RunOf(Upper, text, start);
        var end = CharacterClasses.RunOf(Lower, text, upper);
        if (end > upper) return end;
        for (end = upper; end > start;)
        {
            var last = end - 1;
            if (last > start && char.IsLowSurrogate(text[last])) last--;
            if ((CharacterClasses.At(text, last, out _) & Lower) != 0) return end;
            end = last;
        }
        return 0;
    }

    // [Upper]+[Lower]*
    private static int StartsInUpper(ReadOnlySpan<char> text, int start)
    {
        var upper = CharacterClasses.RunOf(Upper, text, start);
        return upper > start ? CharacterClasses.RunOf(Lower, text, upper) : 0;
    }
}
