using System.Globalization;

namespace Sora.Cli.Display;

/// <summary>Numbers as people read them.</summary>
internal static class Format
{
    /// <summary><c>1h02m</c>, <c>3m05s</c>, <c>12s</c>.</summary>
    public static string Duration(TimeSpan time) => TimeSpan.FromSeconds(Math.Round(time.TotalSeconds)) switch
    {
        { TotalMinutes: < 1 } seconds => $"{seconds.Seconds}s",
        { TotalHours: < 1 } minutes => $"{minutes.Minutes}m{minutes.Seconds:00}s",
        { TotalDays: < 1 } hours => $"{hours.Hours}h{hours.Minutes:00}m",
        var days => $"{days.Days}d{days.Hours:00}h",
    };

    /// <summary><c>1 worker</c>, <c>1,200 workers</c>.</summary>
    public static string Of(long count, string noun) => string.Create(CultureInfo.InvariantCulture, $"{count:N0} {noun}{(count == 1 ? "" : "s")}");

    /// <summary><c>5.3M</c>, <c>124M</c>, <c>7.2B</c>.</summary>
    public static string Count(double count) => Scale(count, 1000, ["", "k", "M", "B", "T", "P"], "");

    /// <summary><c>21.2 MiB</c>.</summary>
    public static string Bytes(double bytes) => Scale(bytes, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"], " ");

    /// <summary>A loss or norm: four decimals, and NaN or infinity as they are.</summary>
    public static string Loss(double value) => value.ToString(double.IsFinite(value) ? "0.0000" : "R", CultureInfo.InvariantCulture);

    /// <summary>Text a model made, safe for a terminal: control characters other than line ends and tabs could move the cursor or change colours.</summary>
    public static string Printable(string text) =>
        text.Any(IsControl) ? string.Concat(text.Select(letter => IsControl(letter) ? '\uFFFD' : letter)) : text;

    private static bool IsControl(char letter) => char.IsControl(letter) && letter is not ('\n' or '\t');

    private static string Scale(double value, double step, string[] units, string gap)
    {
        var unit = 0;
        while (Math.Abs(value) >= step && unit < units.Length - 1)
        {
            value /= step;
            unit++;
        }
        var digits = unit == 0 || Math.Abs(value) >= 100 ? "0" : Math.Abs(value) >= 10 ? "0.#" : "0.##";
        return value.ToString(digits, CultureInfo.InvariantCulture) + (units[unit].Length > 0 ? gap + units[unit] : "");
    }
}
