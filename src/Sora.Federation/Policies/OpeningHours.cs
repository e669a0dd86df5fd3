using System.Globalization;
using System.Text.RegularExpressions;

namespace Sora.Federation.Policies;

/// <summary>Some days of the week from one time to another; one that ends before it begins goes on into the next day.</summary>
/// <param name="Text">As written.</param>
/// <param name="Days">The days it begins on.</param>
/// <param name="From">When it begins, from midnight.</param>
/// <param name="To">When it is over; up to 24:00.</param>
public sealed partial record OpeningWindow(string Text, IReadOnlyList<DayOfWeek> Days, TimeSpan From, TimeSpan To)
{
    private static readonly string[] Names = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

    /// <summary>Reads <c>Mon-Fri 20:00-06:00</c>, <c>Sat,Sun 00:00-24:00</c> or <c>daily 22:00-05:30</c>.</summary>
    /// <returns>The window, or null when it is none.</returns>
    public static OpeningWindow? Parse(string text)
    {
        if (Pattern().Match(text.Trim()) is not { Success: true } match) return null;
        if (ParseDays(match.Groups["days"].Value.ToLowerInvariant()) is not { } days) return null;
        if (ParseTime(match.Groups["from"].Value) is not { } from || ParseTime(match.Groups["to"].Value) is not { } to) return null;
        // Equal times could mean all day or never: whoever means all day writes 00:00-24:00.
        return from == to || from == TimeSpan.FromDays(1) ? null : new OpeningWindow(text.Trim(), days, from, to);
    }

    /// <summary>Whether it is open at a time of a day.</summary>
    public bool Contains(DayOfWeek day, TimeSpan time)
    {
        if (From < To) return Days.Contains(day) && time >= From && time < To;
        var yesterday = (DayOfWeek)(((int)day + 6) % 7);
        return (Days.Contains(day) && time >= From) || (Days.Contains(yesterday) && time < To);
    }

    private static DayOfWeek[]? ParseDays(string text)
    {
        if (text == "daily") return Enum.GetValues<DayOfWeek>();
        var days = new SortedSet<DayOfWeek>();
        foreach (var part in text.Split(','))
        {
            var ends = part.Split('-');
            var (first, last) = (Array.IndexOf(Names, ends[0].Trim()), Array.IndexOf(Names, ends[^1].Trim()));
            if (ends.Length > 2 || first < 0 || last < 0) return null;
            for (var day = first; ; day = (day + 1) % 7)
            {
                days.Add((DayOfWeek)day);
                if (day == last) break;
            }
        }
        return [.. days];
    }

    private static TimeSpan? ParseTime(string text)
    {
        var parts = text.Split(':');
        var time = new TimeSpan(int.Parse(parts[0], CultureInfo.InvariantCulture), int.Parse(parts[1], CultureInfo.InvariantCulture), 0);
        return time <= TimeSpan.FromDays(1) && parts[1][0] < '6' ? time : null;
    }

    [GeneratedRegex(@"^(?<days>[A-Za-z,\- ]+?) +(?<from>[0-9]{1,2}:[0-9]{2}) *- *(?<to>[0-9]{1,2}:[0-9]{2})\z")]
    private static partial Regex Pattern();
}

/// <summary>When jobs may run, by the wall clock of one place.</summary>
/// <param name="Zone">The place's time zone.</param>
/// <param name="Windows">The times; one of them must be open.</param>
public sealed record OpeningHours(TimeZoneInfo Zone, IReadOnlyList<OpeningWindow> Windows)
{
    /// <summary>Whether jobs may run now.</summary>
    public bool IsOpen(DateTimeOffset now)
    {
        var local = TimeZoneInfo.ConvertTime(now, Zone);
        return Windows.Any(window => window.Contains(local.DayOfWeek, local.TimeOfDay));
    }

    /// <summary>The wall clock, for people.</summary>
    public string Clock(DateTimeOffset now) => TimeZoneInfo.ConvertTime(now, Zone).ToString("ddd HH:mm", CultureInfo.InvariantCulture) + " in " + Zone.Id;
}
