using System.Text.RegularExpressions;

namespace Sora.Model.Tokenization.PreSplit;

/// <summary>Hugging Face patterns are written for Oniguruma. Most mean the same to .NET; this finds those that do not.</summary>
internal static partial class OnigurumaPattern
{
    private const string PlainEscapes = @"rntfsSdD.,:;'""!?*+|()[]{}^$\/-_#%&@<=>`~ ";

    private static readonly string[] PlainGroups = ["?:", "?=", "?!", "?>", "?i:", "?<=", "?<!"];

    /// <summary>What in a pattern means something else to .NET; null when nothing does.</summary>
    public static string? Difference(string pattern)
    {
        var inClass = false;
        var afterQuantifier = false;
        for (var at = 0; at < pattern.Length; at++)
        {
            var rest = pattern.AsSpan(at);
            var isQuantifier = false;
            switch (pattern[at])
            {
                case '\\' when Property().Match(pattern, at) is { Success: true } property:
                    at += property.Length - 1;
                    break;
                case '\\' when rest.Length > 1 && PlainEscapes.Contains(rest[1]):
                    at++;
                    break;
                case '\\':
                    return $"the escape {rest[..Math.Min(2, rest.Length)]}";
                case ']' when inClass:
                    inClass = false;
                    break;
                case '[' when inClass:
                    return "a class inside a class";
                case '&' when inClass && rest.StartsWith("&&"):
                    return "the class intersection &&";
                case '[':
                    inClass = true;
                    if (rest.StartsWith("[^")) at++;
                    break;
                case '^' or '$' when !inClass:
                    return $"the anchor {pattern[at]}";
                case '(' when !inClass && rest.StartsWith("(?") && !PlainGroups.Any(group => pattern.AsSpan(at + 1).StartsWith(group)):
                    return "the group (" + rest[1..Math.Min(4, rest.Length)].ToString();
                case '+' when afterQuantifier:
                    return "a possessive quantifier";
                case '*' or '+' or '?' or '}' when !inClass:
                    isQuantifier = true;
                    break;
            }
            afterQuantifier = isQuantifier;
        }
        return null;
    }

    // The general categories; scripts and the rest are not known to .NET, or by other names.
    [GeneratedRegex(@"\G\\[Pp]\{(?:L[ultmo]?|M[nce]?|N[dlo]?|P[cdseifo]?|S[mcko]?|Z[slp]?|C[cfon]?)\}")]
    private static partial Regex Property();
}
