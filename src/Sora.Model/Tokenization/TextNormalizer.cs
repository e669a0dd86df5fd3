using System.Diagnostics.CodeAnalysis;

namespace Sora.Model.Tokenization;

/// <summary>Changes text before it is split.</summary>
internal abstract class TextNormalizer
{
    /// <summary>The changed text; false when it stays as it is.</summary>
    /// <param name="text">A stretch between added tokens.</param>
    /// <param name="isStart">It starts where the whole text starts.</param>
    /// <param name="normalized">The result.</param>
    public abstract bool TryNormalize(ReadOnlySpan<char> text, bool isStart, [NotNullWhen(true)] out string? normalized);
}

/// <summary>Replaces one string with another.</summary>
internal sealed class ReplaceNormalizer(string pattern, string content) : TextNormalizer
{
    public override bool TryNormalize(ReadOnlySpan<char> text, bool isStart, [NotNullWhen(true)] out string? normalized)
    {
        normalized = text.IndexOf(pattern, StringComparison.Ordinal) < 0 ? null : text.ToString().Replace(pattern, content, StringComparison.Ordinal);
        return normalized is not null;
    }
}

/// <summary>Puts a string in front of text that is not empty.</summary>
/// <param name="prefix">The string.</param>
/// <param name="onlyAtStart">Only where the whole text starts.</param>
/// <param name="unlessThere">Not where the text already starts with it.</param>
/// <param name="unlessSpace">Not where the text starts with white space.</param>
internal sealed class PrefixNormalizer(string prefix, bool onlyAtStart = false, bool unlessThere = false, bool unlessSpace = false) : TextNormalizer
{
    public override bool TryNormalize(ReadOnlySpan<char> text, bool isStart, [NotNullWhen(true)] out string? normalized)
    {
        normalized = null;
        if (text.IsEmpty || (onlyAtStart && !isStart)) return false;
        if ((unlessThere && text.StartsWith(prefix)) || (unlessSpace && char.IsWhiteSpace(text[0]))) return false;
        normalized = string.Concat(prefix, text);
        return true;
    }
}
