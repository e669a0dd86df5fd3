using System.Globalization;

namespace Sora.Protocol.Jobs;

/// <summary>
/// How many workers a run has, as a job says it: <c>N</c> begins with N and goes on with whoever is left; <c>MIN:MAX</c> begins
/// with MIN, takes in up to MAX, and waits below MIN.
/// </summary>
/// <param name="Least">With fewer the run, once begun, waits for more to come.</param>
/// <param name="Start">With fewer it does not begin.</param>
/// <param name="Most">More stand by.</param>
public readonly record struct WorkerRange(int Least, int Start, int Most)
{
    /// <summary>What <c>N</c> means.</summary>
    public static WorkerRange Of(int count) => new(1, count, count);

    /// <summary>What <c>MIN:MAX</c> means.</summary>
    public static WorkerRange Between(int least, int most) => new(least, least, most);

    /// <summary>Whether it was given as <c>N</c>.</summary>
    public bool IsCount => this == Of(Most);

    /// <summary>Reads <c>N</c> or <c>MIN:MAX</c>; null when it is neither. Whether the numbers make sense is the job's business.</summary>
    public static WorkerRange? Parse(string text)
    {
        var parts = text.Split(':');
        if (parts.Length > 2 || !TryRead(parts[0], out var first)) return null;
        if (parts.Length == 1) return Of(first);
        return TryRead(parts[1], out var most) ? Between(first, most) : null;
    }

    /// <summary>As a job file says it.</summary>
    public override string ToString() => IsCount ? Most.ToString(CultureInfo.InvariantCulture) : FormattableString.Invariant($"{Least}:{Most}");

    private static bool TryRead(string text, out int number) => int.TryParse(text.Trim(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out number);
}
