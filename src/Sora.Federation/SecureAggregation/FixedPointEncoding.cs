using Sora.Protocol.Jobs;

namespace Sora.Federation.SecureAggregation;

/// <summary>
/// Floats as integers modulo 2^32, so that masks cancel exactly. A value x of a site with weight w becomes
/// round(x * w / <see cref="MaximumWeight"/> * <see cref="Scale"/>). The scale leaves <see cref="MaximumSites"/> values of the
/// largest size room between -2^31 and 2^31, and larger values are refused: the sum cannot overflow.
/// </summary>
public sealed record FixedPointEncoding
{
    private const int FewestSteps = 1024;

    /// <summary>Creates the encoding of a round.</summary>
    /// <param name="maximumSites">Most sites that can be in one sum.</param>
    /// <param name="valueRange">Largest absolute value of a parameter's update; sites clip before they encode.</param>
    /// <param name="maximumWeight">Largest weight of a site; 1 for an unweighted mean.</param>
    public FixedPointEncoding(int maximumSites, float valueRange, int maximumWeight)
    {
        if (maximumSites is < 1 or > int.MaxValue / FewestSteps)
            throw new SoraException($"A secure sum takes 1 to {int.MaxValue / FewestSteps} sites, not {maximumSites}.", ExitCode.Usage);
        if (!(float.IsFinite(valueRange) && valueRange > 0))
            throw new SoraException($"The value range of a secure sum is {valueRange}; it must be a finite number above 0.", ExitCode.Usage);
        if (maximumWeight < 1 || (long)maximumWeight * maximumSites > uint.MaxValue)
            throw new SoraException(
                $"The maximum weight {maximumWeight} must be at least 1 and, times {maximumSites} sites, below 2^32. Count in larger units.", ExitCode.Usage);
        (MaximumSites, ValueRange, MaximumWeight) = (maximumSites, valueRange, maximumWeight);
        // A power of two: scaling then is exact, and rounding to an integer is the only error.
        Scale = Math.ScaleB(1, Math.ILogB(int.MaxValue / maximumSites / (double)valueRange));
    }

    /// <summary>Most sites that can be in one sum.</summary>
    public int MaximumSites { get; }

    /// <summary>Largest absolute value that can be encoded.</summary>
    public float ValueRange { get; }

    /// <summary>Largest weight of a site.</summary>
    public int MaximumWeight { get; }

    /// <summary>Steps per unit.</summary>
    public double Scale { get; }

    /// <summary>Encodes the values of a site with the given weight.</summary>
    /// <param name="values">Part of the update.</param>
    /// <param name="weight">The site's weight, 1 to <see cref="MaximumWeight"/>.</param>
    /// <param name="first">Index of the first value in the update, for the error.</param>
    /// <param name="encoded">As long as <paramref name="values"/>.</param>
    /// <exception cref="SoraException">A value is outside of the range, or not a number.</exception>
    public void Encode(ReadOnlySpan<float> values, int weight, long first, Span<uint> encoded)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(encoded.Length, values.Length);
        RequireWeight(weight);
        var factor = Scale * weight / MaximumWeight;
        for (var i = 0; i < values.Length; i++)
        {
            // Written so that NaN fails too.
            if (!(Math.Abs(values[i]) <= ValueRange))
                throw new SoraException(
                    $"Parameter {first + i} of the update is {values[i]}, outside of the round's range of -{ValueRange} to {ValueRange}. "
                    + "Clip the update before it is encoded, or widen the range.", ExitCode.InvalidInput);
            encoded[i] = unchecked((uint)(int)Math.Round(values[i] * factor));
        }
    }

    /// <summary>The weighted mean from a sum of encoded values and the sum of the weights.</summary>
    public void DecodeMean(ReadOnlySpan<uint> sum, long totalWeight, Span<float> mean)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(mean.Length, sum.Length);
        ArgumentOutOfRangeException.ThrowIfLessThan(totalWeight, 1);
        var factor = MaximumWeight / (Scale * totalWeight);
        for (var i = 0; i < sum.Length; i++)
            mean[i] = (float)(unchecked((int)sum[i]) * factor);
    }

    internal void RequireWeight(int weight)
    {
        if (weight < 1 || weight > MaximumWeight)
            throw new SoraException(
                $"The site's weight is {weight}, the round allows 1 to {MaximumWeight}. Cap the weight, or raise the maximum.", ExitCode.InvalidInput);
    }
}
