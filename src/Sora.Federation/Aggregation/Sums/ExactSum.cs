using System.Runtime.CompilerServices;

namespace Sora.Federation.Aggregation.Sums;

/// <summary>
/// Weighted sums that do not depend on the order of their terms. Floating-point addition is not associative; integer addition is,
/// so every product weight x value becomes an integer multiple of 2^-56, kept in two limbs: <c>high x 2^6 + low x 2^-56</c> with
/// <c>0 &lt;= low &lt; 2^62</c>, which makes the limbs of a sum unique. The one rounding happens per term and looks at nothing else:
/// at most 2^-57, so a mean over weights of one or more is off by at most 2^-57 (7e-18) before it is rounded once.
/// Overflow is impossible: |value| &lt;= 2^16, weight &lt;= 2^32 and at most 2^20 terms make less than 2^69, which is what the limbs hold.
/// </summary>
internal static class ExactSum
{
    /// <summary>The largest magnitude of a value; a change of a parameter beyond it is a diverged model, and refused.</summary>
    public const float MaxMagnitude = 1 << 16;

    /// <summary>The largest weight.</summary>
    public const double MaxWeight = 1L << 32;

    /// <summary>The smallest weight that a term may have; a smaller one would not be told from the rounding.</summary>
    public const double MinWeight = 1.0 / (1 << 16);

    /// <summary>How many terms a sum may have.</summary>
    public const int MaxTerms = 1 << 20;

    private const int LowBits = 62;
    private const long LowMask = (1L << LowBits) - 1;
    private const double HighUnit = 64; // 2^(62-56)
    private const double LowPerUnit = 1L << 56;

    /// <summary>
    /// The weight that is really used: cut to 29 bits, so that its product with a float (24 bits) is exact in double precision.
    /// Whole numbers below 2^29 are left as they are; others lose less than 2^-28 of themselves, never gaining.
    /// </summary>
    public static double Representable(double weight) => BitConverter.Int64BitsToDouble(BitConverter.DoubleToInt64Bits(weight) & ~((1L << 24) - 1));

    /// <summary>Adds <paramref name="weight"/> x <paramref name="values"/>; the weight must be <see cref="Representable"/>.</summary>
    public static void Add(ReadOnlySpan<float> values, double weight, Span<long> high, Span<long> low)
    {
        for (var i = 0; i < values.Length; i++)
            Add(values[i] * weight, ref high[i], ref low[i]);
    }

    /// <summary>Adds one term.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Add(double term, ref long high, ref long low)
    {
        // Truncation towards zero keeps the remainder exact: its bits are some of the term's.
        var whole = (long)(term * (1 / HighUnit));
        var rest = (long)Math.Round((term - whole * HighUnit) * LowPerUnit);
        // |rest| <= 2^62 and 0 <= low < 2^62, so the sum fits, and the shift yields a carry of -1, 0 or 1.
        var sum = low + rest;
        high += whole + (sum >> LowBits);
        low = sum & LowMask;
    }

    /// <summary>The sum, rounded once to double precision (twice where both limbs matter).</summary>
    public static double Value(long high, long low)
    {
        // Balanced, so that a small negative sum is not the difference of two large numbers.
        if (low >= 1L << (LowBits - 1))
            (high, low) = (high + 1, low - (1L << LowBits));
        return high * HighUnit + low / LowPerUnit;
    }
}
