using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;

namespace Sora.Cli.Shell;

/// <summary>Options that take a time.</summary>
internal static class Moments
{
    /// <summary>An option such as <c>--expires 2027-01-31</c>; without a zone the time is UTC.</summary>
    public static Option<DateTimeOffset?> Create(string name, string description) => new(name)
    {
        Description = description + " Such as 2027-01-31 or 2027-01-31T18:00+01:00; without a zone it is UTC.",
        HelpName = "TIME",
        CustomParser = Parse,
    };

    private static DateTimeOffset? Parse(ArgumentResult result)
    {
        var text = result.Tokens[0].Value;
        if (DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time)) return time;
        result.AddError($"'{text}' is no time; write for example 2027-01-31 or 2027-01-31T18:00+01:00.");
        return null;
    }
}
