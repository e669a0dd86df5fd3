using System.Globalization;

namespace Sora.Protocol.Jobs;

/// <summary>Sizes as people write them: <c>5GB</c>, <c>512 MiB</c>, <c>1000000</c>.</summary>
public static class ByteSize
{
    private static readonly (string Unit, long Bytes)[] _units =
    [
        ("KIB", 1L << 10), ("MIB", 1L << 20), ("GIB", 1L << 30), ("TIB", 1L << 40),
        ("KB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000), ("", 1),
    ];

    /// <summary>Reads a size above 0.</summary>
    /// <returns>Bytes; null where the text is none.</returns>
    public static long? Parse(string text)
    {
        var compact = text.Replace(" ", "", StringComparison.Ordinal).ToUpperInvariant();
        var (unit, bytes) = _units.First(one => compact.EndsWith(one.Unit, StringComparison.Ordinal));
        return decimal.TryParse(compact.AsSpan(0, compact.Length - unit.Length), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number)
            && number > 0 && number <= long.MaxValue / bytes && number * bytes >= 1
                ? (long)(number * bytes) : null;
    }
}
