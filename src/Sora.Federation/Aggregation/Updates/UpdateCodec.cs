using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Sora.Federation.Aggregation.Updates;

/// <summary>Writes and reads the numbers of an update. Stateless: any run of whole blocks can be coded by itself.</summary>
public static class UpdateCodec
{
    /// <summary>Values that share one scale in <see cref="UpdateEncoding.Int8"/>; runs must begin at multiples of it in every encoding.</summary>
    public const int BlockValues = 256;

    private const int Int8BlockBytes = sizeof(float) + BlockValues;

    /// <summary>The bytes that <paramref name="values"/> numbers take, which is also where number <paramref name="values"/> begins (multiples of a block).</summary>
    public static long EncodedBytes(UpdateEncoding encoding, long values) => encoding switch
    {
        UpdateEncoding.Float32 => values * sizeof(float),
        UpdateEncoding.Float16 => values * 2,
        UpdateEncoding.Int8 => values + (values + BlockValues - 1) / BlockValues * sizeof(float),
        _ => throw new InvalidUpdateException($"Updates have no encoding {(int)encoding}; known are float32, float16 and int8."),
    };

    /// <summary>Encodes a run of values that begins at parameter <paramref name="first"/>, a multiple of <see cref="BlockValues"/>.</summary>
    /// <param name="encoding">How.</param>
    /// <param name="values">The values; only the last run of an update may end inside a block.</param>
    /// <param name="first">Where the run begins; what the seeded chance depends on, so that the bytes do not depend on how an update is cut.</param>
    /// <param name="destination">Takes exactly <see cref="EncodedBytes"/> bytes.</param>
    /// <param name="rounding">How int8 rounds.</param>
    /// <param name="seed">Seed of stochastic rounding; the same seed gives the same bytes.</param>
    public static void Encode(UpdateEncoding encoding, ReadOnlySpan<float> values, long first, Span<byte> destination,
        RoundingMode rounding = RoundingMode.Nearest, ulong seed = 0)
    {
        CheckRun(encoding, values.Length, first, destination.Length);
        for (var i = 0; i < values.Length; i++)
            if (!float.IsFinite(values[i]))
                throw new InvalidUpdateException($"Parameter {first + i} of the update is {values[i]}, which cannot be sent; did local training diverge?");
        switch (encoding)
        {
            case UpdateEncoding.Float32:
                for (var i = 0; i < values.Length; i++)
                    BinaryPrimitives.WriteSingleLittleEndian(destination[(i * 4)..], values[i]);
                break;
            case UpdateEncoding.Float16:
                for (var i = 0; i < values.Length; i++)
                    BinaryPrimitives.WriteHalfLittleEndian(destination[(i * 2)..], ToHalf(values[i], first + i));
                break;
            default:
                for (var start = 0; start < values.Length; start += BlockValues, destination = destination[Math.Min(Int8BlockBytes, destination.Length)..])
                    EncodeBlock(values.Slice(start, Math.Min(BlockValues, values.Length - start)), first + start, destination, rounding, seed);
                break;
        }
    }

    /// <summary>Decodes what <see cref="Encode"/> wrote, and refuses everything that it never writes.</summary>
    /// <exception cref="InvalidUpdateException">A number is not finite, or a block malformed.</exception>
    public static void Decode(UpdateEncoding encoding, ReadOnlySpan<byte> encoded, long first, Span<float> values)
    {
        CheckRun(encoding, values.Length, first, encoded.Length);
        switch (encoding)
        {
            case UpdateEncoding.Float32:
                for (var i = 0; i < values.Length; i++)
                    values[i] = BinaryPrimitives.ReadSingleLittleEndian(encoded[(i * 4)..]);
                break;
            case UpdateEncoding.Float16:
                for (var i = 0; i < values.Length; i++)
                    values[i] = (float)BinaryPrimitives.ReadHalfLittleEndian(encoded[(i * 2)..]);
                break;
            default:
                for (var start = 0; start < values.Length; start += BlockValues, encoded = encoded[Math.Min(Int8BlockBytes, encoded.Length)..])
                    DecodeBlock(encoded, first + start, values.Slice(start, Math.Min(BlockValues, values.Length - start)));
                break;
        }
        for (var i = 0; i < values.Length; i++)
            if (!float.IsFinite(values[i]))
                throw new InvalidUpdateException($"Parameter {first + i} of the update is not finite ({values[i]}).");
    }

    private static Half ToHalf(float value, long parameter)
    {
        var half = (Half)value;
        return Half.IsFinite(half)
            ? half
            : throw new InvalidUpdateException($"Parameter {parameter} of the update is {value:g6}, beyond what float16 holds (65504); send float32 or int8.");
    }

    private static void EncodeBlock(ReadOnlySpan<float> values, long first, Span<byte> destination, RoundingMode rounding, ulong seed)
    {
        var largest = 0f;
        foreach (var value in values)
            largest = Math.Max(largest, Math.Abs(value));
        var scale = (float)(largest / 127.0);
        BinaryPrimitives.WriteSingleLittleEndian(destination, scale);
        var steps = MemoryMarshal.Cast<byte, sbyte>(destination.Slice(sizeof(float), values.Length));
        for (var i = 0; i < values.Length; i++)
        {
            // A scale that underflowed to zero stands for a block of zeros.
            var exact = scale == 0 ? 0 : values[i] / (double)scale;
            var step = rounding == RoundingMode.Nearest ? Math.Round(exact) : Math.Floor(exact + Chance(seed, first + i));
            steps[i] = (sbyte)Math.Clamp(step, -127, 127);
        }
    }

    private static void DecodeBlock(ReadOnlySpan<byte> encoded, long first, Span<float> values)
    {
        var scale = BinaryPrimitives.ReadSingleLittleEndian(encoded);
        if (!float.IsFinite(scale) || scale < 0)
            throw new InvalidUpdateException($"The scale of the block at parameter {first} is {scale}; it must be finite and not negative.");
        var steps = MemoryMarshal.Cast<byte, sbyte>(encoded.Slice(sizeof(float), values.Length));
        for (var i = 0; i < values.Length; i++)
            values[i] = steps[i] != sbyte.MinValue
                ? steps[i] * scale
                : throw new InvalidUpdateException($"Parameter {first + i} is coded as -128, which int8 updates never hold.");
    }

    /// <summary>A number in [0, 1) that depends on seed and parameter alone (SplitMix64's finalizer over both).</summary>
    private static double Chance(ulong seed, long parameter)
    {
        var z = Mix(seed + 0x9E3779B97F4A7C15UL) + (ulong)parameter * 0x9E3779B97F4A7C15UL;
        return (Mix(z) >> 11) * (1.0 / (1UL << 53));

        static ulong Mix(ulong x)
        {
            x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9UL;
            x = (x ^ (x >> 27)) * 0x94D049BB133111EBUL;
            return x ^ (x >> 31);
        }
    }

    private static void CheckRun(UpdateEncoding encoding, int values, long first, int bytes)
    {
        if (first < 0 || first % BlockValues != 0)
            throw new ArgumentOutOfRangeException(nameof(first), first, $"A run of an update begins at a multiple of {BlockValues}.");
        var expected = EncodedBytes(encoding, values);
        if (bytes != expected)
            throw new InvalidUpdateException($"{values} parameters as {encoding} take {expected} bytes, not {bytes}.");
    }
}
