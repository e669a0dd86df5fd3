namespace Sora.Model.Tokenization.PreSplit;

/// <summary>Digits apart from all else: runs of them, or each by itself.</summary>
internal sealed class DigitSplitter(bool each) : PreSplitter
{
    public override int End(ReadOnlySpan<char> text, int start)
    {
        var first = CharacterClasses.At(text, start, out var width);
        if ((first & CharacterClass.Number) != 0) return each ? start + width : CharacterClasses.RunOf(CharacterClass.Number, text, start);
        var end = start + width;
        while (end < text.Length && (CharacterClasses.At(text, end, out width) & CharacterClass.Number) == 0)
            end += width;
        return end;
    }
}

/// <summary>Which word a literal goes to.</summary>
internal enum LiteralJoin
{
    /// <summary>It is one.</summary>
    Alone,
    /// <summary>That before it.</summary>
    Previous,
    /// <summary>That after it.</summary>
    Next,
}

/// <summary>Splits at each occurrence of a string.</summary>
internal sealed class LiteralSplitter(string literal, LiteralJoin join) : PreSplitter
{
    public override int End(ReadOnlySpan<char> text, int start)
    {
        var isHere = text[start..].StartsWith(literal);
        if (join == LiteralJoin.Alone && isHere) return start + literal.Length;
        var from = isHere && join == LiteralJoin.Next ? start + literal.Length : start;
        var found = text[from..].IndexOf(literal);
        if (found < 0) return text.Length;
        return join == LiteralJoin.Previous ? from + found + literal.Length : from + found;
    }
}

/// <summary>Splits before each space mark that follows something else: exact where no merge crosses such a place, and it lets words be cached.</summary>
internal sealed class SpaceMarkSplitter : PreSplitter
{
    private const char Mark = '\u2581';

    public override int End(ReadOnlySpan<char> text, int start)
    {
        var body = text[start..].IndexOfAnyExcept(Mark);
        if (body < 0) return text.Length;
        var next = text[(start + body)..].IndexOf(Mark);
        return next < 0 ? text.Length : start + body + next;
    }

    /// <summary>Whether a vocabulary entry holds such a place.</summary>
    public static bool IsCrossedBy(string entry)
    {
        var body = entry.AsSpan().IndexOfAnyExcept(Mark);
        return body >= 0 && entry.AsSpan(body).Contains(Mark);
    }
}
