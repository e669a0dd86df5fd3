using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Sora.Model.Tokenization.PreSplit;

/// <summary>
/// A pattern that has no hand-written splitter: matches are words, and so is what lies between them. Hugging Face matches with Oniguruma, on code
/// points; only patterns that mean the same here are taken.
/// </summary>
internal sealed partial class RegexSplitter(string pattern) : PreSplitter
{
    // A character of each category that stands in for those beyond U+FFFF, of which a .NET regular expression sees only the UTF-16 halves.
    private static readonly Dictionary<UnicodeCategory, char> StandIns = new[]
    {
        '\u0531', '\u0561', '\u01C8', '\u02B1', '\u0710', '\u0900', '\u0903', '\u0488', '\u07C1', '\u16EE', '\u0F2B', '\u2054', '\u1806', '\u2045', '\u2046',
        '\u2E02', '\u2E03', '\u2021', '\u2052', '\u20A0', '\u02C2', '\u06DE', '\u061C', '\uE000', '\u0378',
    }.ToDictionary(CharUnicodeInfo.GetUnicodeCategory);

    private readonly Regex _regex = new(pattern, RegexOptions.CultureInvariant | RegexOptions.Compiled);

    /// <summary>Why a pattern cannot be used; null when it can.</summary>
    public static string? WhyNot(string pattern)
    {
        if (OnigurumaPattern.Difference(pattern) is { } difference) return difference;
        if (pattern.Any(char.IsSurrogate)) return "it names characters beyond U+FFFF";
        foreach (Match range in Range().Matches(pattern))
        {
            if (StandIns.Values.Any(c => c >= range.Groups[1].Value[0] && c <= range.Groups[2].Value[0])) return $"the range {range.Value} is too wide";
        }
        try
        {
            return new Regex(pattern, RegexOptions.CultureInvariant).IsMatch("") ? "it matches the empty string" : null;
        }
        catch (ArgumentException error)
        {
            return error.Message;
        }
    }

    /// <inheritdoc/>
    public override int End(ReadOnlySpan<char> text, int start) => AllEnds(text[start..])[0] + start;

    /// <inheritdoc/>
    public override IReadOnlyList<int> AllEnds(ReadOnlySpan<char> text)
    {
        var ends = new List<int>();
        if (text.IndexOfAnyInRange('\uD800', '\uDFFF') < 0)
        {
            Match(text, ends);
            return ends;
        }
        var shadow = new StringBuilder(text.Length);
        var offsets = new List<int>(text.Length);
        for (int at = 0, width; at < text.Length; at += width)
        {
            width = 1;
            offsets.Add(at);
            if (!char.IsSurrogate(text[at]))
                shadow.Append(text[at]);
            else if (Rune.DecodeFromUtf16(text[at..], out var rune, out width) == OperationStatus.Done)
                shadow.Append(StandIns.GetValueOrDefault(Rune.GetUnicodeCategory(rune), '\u06DE'));
            else
                shadow.Append('\uFFFD');
        }
        offsets.Add(text.Length);
        Match(shadow.ToString(), ends);
        for (var i = 0; i < ends.Count; i++)
            ends[i] = offsets[ends[i]];
        return ends;
    }

    private void Match(ReadOnlySpan<char> text, List<int> ends)
    {
        var last = 0;
        foreach (var match in _regex.EnumerateMatches(text))
        {
            if (match.Length == 0) continue;
            if (match.Index > last) ends.Add(match.Index);
            ends.Add(last = match.Index + match.Length);
        }
        if (last < text.Length) ends.Add(text.Length);
    }

    [GeneratedRegex(@"([^\\])-([^\]])")]
    private static partial Regex Range();
}
