using System.Numerics;
using System.Runtime.InteropServices;

namespace Sora.Federation.SecureAggregation;

/// <summary>Vectors modulo 2^32.</summary>
internal static class ModularVector
{
    public static void Add(Span<uint> target, ReadOnlySpan<uint> values)
    {
        var done = Vectors(target, values, out var targets, out var others);
        for (var i = 0; i < targets.Length; i++)
            targets[i] += others[i];
        for (var i = done; i < target.Length; i++)
            target[i] = unchecked(target[i] + values[i]);
    }

    public static void Subtract(Span<uint> target, ReadOnlySpan<uint> values)
    {
        var done = Vectors(target, values, out var targets, out var others);
        for (var i = 0; i < targets.Length; i++)
            targets[i] -= others[i];
        for (var i = done; i < target.Length; i++)
            target[i] = unchecked(target[i] - values[i]);
    }

    private static int Vectors(Span<uint> target, ReadOnlySpan<uint> values, out Span<Vector<uint>> targets, out ReadOnlySpan<Vector<uint>> others)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(values.Length, target.Length);
        targets = MemoryMarshal.Cast<uint, Vector<uint>>(target);
        others = MemoryMarshal.Cast<uint, Vector<uint>>(values);
        return targets.Length * Vector<uint>.Count;
    }
}
