using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Sora.Federation.SecureAggregation;

/// <summary>
/// Shamir's secret sharing of 256 bits. The secret is cut into five limbs of at most 56 bits, each shared by a polynomial of its
/// own over the field of 2^61 - 1 elements: exact, without big integers, and in memory that can be wiped.
/// </summary>
internal static class ShamirSharing
{
    public const int SecretBytes = 32;
    public const int ShareBytes = Limbs * sizeof(ulong);

    private const int Limbs = 5;
    private const int LimbBytes = 7;
    private const int PrimeBits = 61;
    private const ulong Prime = (1UL << PrimeBits) - 1; // a Mersenne prime

    /// <summary>One share for each of the (distinct, positive) points; any <paramref name="threshold"/> of them restore the secret.</summary>
    public static byte[][] Split(ReadOnlySpan<byte> secret, int threshold, IReadOnlyList<int> points, RandomNumberGenerator random)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(secret.Length, SecretBytes, nameof(secret));
        ArgumentOutOfRangeException.ThrowIfLessThan(threshold, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(threshold, points.Count);
        var shares = points.Select(_ => new byte[ShareBytes]).ToArray();
        var polynomial = new ulong[threshold];
        for (var limb = 0; limb < Limbs; limb++)
        {
            polynomial[0] = ReadLimb(secret, limb);
            FillUniform(polynomial.AsSpan(1), random);
            for (var i = 0; i < shares.Length; i++)
                BinaryPrimitives.WriteUInt64LittleEndian(shares[i].AsSpan(limb * sizeof(ulong)), Evaluate(polynomial, points[i]));
        }
        CryptographicOperations.ZeroMemory(MemoryMarshal.AsBytes(polynomial.AsSpan()));
        return shares;
    }

    /// <summary>Restores the secret; false if the shares are malformed, or show themselves that they are not of one secret.</summary>
    public static bool TryCombine(IReadOnlyList<(int Point, byte[] Share)> shares, [NotNullWhen(true)] out byte[]? secret)
    {
        secret = null;
        if (shares.Count == 0 || shares.Any(share => share.Share.Length != ShareBytes))
            return false;
        var coefficients = LagrangeAtZero([.. shares.Select(share => share.Point)]);
        var restored = new byte[SecretBytes];
        for (var limb = 0; limb < Limbs; limb++)
        {
            ulong sum = 0;
            for (var i = 0; i < shares.Count; i++)
            {
                var value = BinaryPrimitives.ReadUInt64LittleEndian(shares[i].Share.AsSpan(limb * sizeof(ulong)));
                if (value >= Prime)
                    return false;
                sum = AddModulo(sum, MultiplyModulo(value, coefficients[i]));
            }
            if (!TryWriteLimb(restored, limb, sum))
                return false;
        }
        secret = restored;
        return true;
    }

    private static ulong Evaluate(ReadOnlySpan<ulong> polynomial, int point)
    {
        ulong value = 0;
        for (var power = polynomial.Length - 1; power >= 0; power--)
            value = AddModulo(MultiplyModulo(value, (ulong)point), polynomial[power]);
        return value;
    }

    // The weight of each share in the value at 0: the product of x_j / (x_j - x_i) over the other points.
    private static ulong[] LagrangeAtZero(int[] points)
    {
        var coefficients = new ulong[points.Length];
        for (var i = 0; i < points.Length; i++)
        {
            ulong numerator = 1, denominator = 1;
            for (var j = 0; j < points.Length; j++)
            {
                if (j == i)
                    continue;
                numerator = MultiplyModulo(numerator, (ulong)points[j]);
                var difference = (long)points[j] - points[i];
                denominator = MultiplyModulo(denominator, difference >= 0 ? (ulong)difference : Prime - (ulong)-difference);
            }
            coefficients[i] = MultiplyModulo(numerator, PowerModulo(denominator, Prime - 2)); // Fermat's inverse
        }
        return coefficients;
    }

    private static ulong AddModulo(ulong one, ulong other)
    {
        var sum = one + other;
        return sum >= Prime ? sum - Prime : sum;
    }

    internal static ulong MultiplyModulo(ulong one, ulong other)
    {
        var high = Math.BigMul(one, other, out var low);
        // 2^61 is 1 in this field: the upper bits are simply added to the lower ones.
        return AddModulo(low & Prime, (high << (64 - PrimeBits)) | (low >> PrimeBits));
    }

    internal static ulong PowerModulo(ulong number, ulong exponent)
    {
        ulong power = 1;
        for (; exponent != 0; exponent >>= 1)
        {
            if ((exponent & 1) != 0)
                power = MultiplyModulo(power, number);
            number = MultiplyModulo(number, number);
        }
        return power;
    }

    private static void FillUniform(Span<ulong> numbers, RandomNumberGenerator random)
    {
        var bytes = MemoryMarshal.AsBytes(numbers);
        random.GetBytes(bytes);
        for (var i = 0; i < numbers.Length; i++)
        {
            numbers[i] &= Prime;
            // Drawn again rather than reduced: every element of the field is equally likely.
            while (numbers[i] == Prime)
            {
                random.GetBytes(MemoryMarshal.AsBytes(numbers.Slice(i, 1)));
                numbers[i] &= Prime;
            }
        }
    }

    private static ulong ReadLimb(ReadOnlySpan<byte> secret, int limb)
    {
        Span<byte> padded = stackalloc byte[sizeof(ulong)];
        padded.Clear();
        var start = limb * LimbBytes;
        secret[start..Math.Min(start + LimbBytes, SecretBytes)].CopyTo(padded);
        return BinaryPrimitives.ReadUInt64LittleEndian(padded);
    }

    private static bool TryWriteLimb(Span<byte> secret, int limb, ulong value)
    {
        var start = limb * LimbBytes;
        var length = Math.Min(LimbBytes, SecretBytes - start);
        if (value >> (8 * length) != 0)
            return false;
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        bytes[..length].CopyTo(secret[start..]);
        return true;
    }
}
