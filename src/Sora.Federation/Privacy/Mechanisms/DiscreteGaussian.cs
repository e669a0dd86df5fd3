using System.Buffers.Binary;
using System.Numerics;
using System.Security.Cryptography;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Privacy;

/// <summary>
/// Whole numbers z with probability proportional to exp(-z^2 / 2 variance), drawn exactly (Canonne, Kamath and Steinke 2020): whole-number
/// arithmetic on random bits only, so that no pattern of floating-point rounding betrays what the noise was added to (Mironov 2012). It hides
/// as well as the continuous Gaussian of that variance: the Renyi divergence of shifts is the same. How long a draw takes depends on it.
/// </summary>
public sealed class DiscreteGaussian
{
    // Keeps every product below under 128 bits.
    private const long LargestVariance = 1L << 48;

    private readonly RandomNumberGenerator _random;
    private readonly byte[] _bytes = new byte[4096];
    private readonly long _variance, _laplaceScale;
    private int _used;

    /// <summary>A source of noise of this variance, from a cryptographic generator.</summary>
    public DiscreteGaussian(long variance, RandomNumberGenerator random)
    {
        if (variance is < 1 or > LargestVariance)
            throw new SoraException($"Noise of variance {variance} grid steps cannot be drawn: it must be between 1 and 2^48. Choose a grid that is {(variance < 1 ? "finer" : "coarser")}.", ExitCode.Usage);
        (_variance, _random, _used) = (variance, random, _bytes.Length);
        _laplaceScale = (long)Math.Sqrt(variance) + 1;
    }

    /// <summary>The variance.</summary>
    public long Variance => _variance;

    /// <summary>The least whole variance of at least this standard deviation: noise is never rounded down.</summary>
    public static long VarianceOf(double deviation)
    {
        if (!(deviation > 0 && deviation * deviation <= LargestVariance))
            throw new SoraException($"Noise of standard deviation {deviation} grid steps cannot be drawn: it must be above 0 and at most 2^24. Choose another grid.", ExitCode.Usage);
        return (long)Math.Ceiling(deviation * deviation);
    }

    /// <summary>One draw.</summary>
    public long Sample()
    {
        // A discrete Laplace draw is kept with probability exp(-(|z| - variance / scale)^2 / 2 variance).
        while (true)
        {
            var candidate = Laplace();
            var distance = (UInt128)Int128.Abs((Int128)Math.Abs(candidate) * _laplaceScale - _variance);
            var scaled = (UInt128)_laplaceScale * (UInt128)_laplaceScale * 2 * (UInt128)_variance;
            if (HappensWithExponential(distance * distance, scaled)) return candidate;
        }
    }

    private long Laplace()
    {
        var scale = (UInt128)_laplaceScale;
        while (true)
        {
            var low = Below(scale);
            if (!HappensWithExponential(low, scale)) continue;
            var steps = 0L;
            while (HappensWithExponential(1, 1)) steps++;
            var magnitude = (long)low + _laplaceScale * steps;
            var negative = Below(2) == 1;
            if (!negative || magnitude != 0) return negative ? -magnitude : magnitude; // or 0 would come twice as often
        }
    }

    // True with probability exp(-numerator / denominator).
    private bool HappensWithExponential(UInt128 numerator, UInt128 denominator)
    {
        for (; numerator > denominator; numerator -= denominator)
        {
            if (!Fraction(1, 1)) return false;
        }
        return Fraction(numerator, denominator);

        // For an exponent of at most 1: the number of successes of chances e/1, e/2, e/3, ... is even with probability exp(-e).
        bool Fraction(UInt128 above, UInt128 below)
        {
            var k = 1u;
            while (Below(checked(below * k)) < above) k++;
            return k % 2 == 1;
        }
    }

    // Uniform on 0 .. bound - 1.
    private UInt128 Below(UInt128 bound)
    {
        if (bound == UInt128.One) return 0;
        var bits = 128 - (int)UInt128.LeadingZeroCount(bound - 1);
        while (true)
        {
            var drawn = Bits(bits);
            if (drawn < bound) return drawn;
        }
    }

    private UInt128 Bits(int bits)
    {
        var count = bits <= 8 ? 1 : bits <= 64 ? 8 : 16;
        if (_used + count > _bytes.Length)
        {
            _random.GetBytes(_bytes);
            _used = 0;
        }
        var from = _bytes.AsSpan(_used, count);
        _used += count;
        var drawn = count switch
        {
            1 => from[0],
            8 => BinaryPrimitives.ReadUInt64LittleEndian(from),
            _ => BinaryPrimitives.ReadUInt128LittleEndian(from),
        };
        CryptographicOperations.ZeroMemory(from);
        return drawn & (UInt128.MaxValue >> (128 - bits));
    }
}
