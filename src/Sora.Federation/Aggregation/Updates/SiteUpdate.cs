using Sora.Federation.Aggregation.Sums;

namespace Sora.Federation.Aggregation.Updates;

/// <summary>One whole update of a site, readable in runs so that nobody need hold it in memory.</summary>
public abstract class SiteUpdate
{
    /// <summary>Values that are read at a time by everything that goes over whole updates.</summary>
    internal const int RunValues = 1 << 16;

    /// <summary>Values to read at a time when the same run of all of them must be in memory: together at most 64 MiB.</summary>
    internal static int RunOf(int updates, long length, int most = RunValues) =>
        (int)Math.Min(length, Math.Clamp((1 << 24) / updates / UpdateCodec.BlockValues * UpdateCodec.BlockValues, UpdateCodec.BlockValues, most));

    private protected SiteUpdate(string site, double weight, long round, long length) =>
        (Site, Weight, Round, Length) = (site, weight, round, length);

    /// <summary>The site.</summary>
    public string Site { get; }

    /// <summary>Its weight as the site claims it: a number of examples or tokens.</summary>
    public double Weight { get; }

    /// <summary>The round whose global weights the site began with.</summary>
    public long Round { get; }

    /// <summary>How many numbers the update holds.</summary>
    public long Length { get; }

    /// <summary>The Euclidean norm of the update.</summary>
    public double Norm { get; private protected set; }

    /// <summary>Reads the values from <paramref name="first"/> on.</summary>
    public abstract void Read(long first, Span<float> values);

    /// <summary>Adds up squares and refuses what no aggregate can take.</summary>
    private protected static double CheckedSquares(ReadOnlySpan<float> values, long first)
    {
        var squares = 0.0;
        for (var i = 0; i < values.Length; i++)
        {
            // Not (magnitude > limit): a NaN must be refused too.
            if (!(Math.Abs(values[i]) <= ExactSum.MaxMagnitude))
                throw new InvalidUpdateException(float.IsFinite(values[i])
                    ? $"parameter {first + i} is {values[i]:g6}, beyond the {ExactSum.MaxMagnitude} that an update may change anything by"
                    : $"parameter {first + i} is not finite ({values[i]})");
            squares += (double)values[i] * values[i];
        }
        return squares;
    }
}

/// <summary>An update held in memory, for simulations and tests.</summary>
public sealed class MemoryUpdate : SiteUpdate
{
    private readonly float[] _values;

    /// <summary>Wraps <paramref name="values"/>, which must not change afterwards.</summary>
    /// <exception cref="InvalidUpdateException">A value is not finite, or beyond the limit.</exception>
    public MemoryUpdate(string site, double weight, float[] values, long round = 0) : base(site, weight, round, values.Length)
    {
        _values = values;
        // Run by run, as from a file, so that the norm has the same bits.
        var squares = 0.0;
        for (var first = 0; first < values.Length; first += RunValues)
            squares += CheckedSquares(values.AsSpan(first, Math.Min(RunValues, values.Length - first)), first);
        Norm = Math.Sqrt(squares);
    }

    /// <inheritdoc/>
    public override void Read(long first, Span<float> values) => _values.AsSpan((int)first, values.Length).CopyTo(values);
}
