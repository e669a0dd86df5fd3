using System.Collections.Frozen;

namespace Sora.Model.Checkpoints;

/// <summary>Element types of the safetensors format, under the names its header uses.</summary>
/// <param name="Name">As written in a header, e.g. <c>F32</c>.</param>
/// <param name="Bits">Bits an element takes.</param>
public sealed record TensorDtype(string Name, int Bits)
{
    private static readonly FrozenDictionary<string, TensorDtype> _byName = new TensorDtype[]
    {
        new("BOOL", 8), new("U8", 8), new("I8", 8), new("I16", 16), new("U16", 16), new("F16", 16), new("BF16", 16),
        new("I32", 32), new("U32", 32), new("F32", 32), new("I64", 64), new("U64", 64), new("F64", 64), new("C64", 64),
        new("F8_E4M3", 8), new("F8_E5M2", 8), new("F8_E8M0", 8), new("F8_E4M3FNUZ", 8), new("F8_E5M2FNUZ", 8),
        new("F4", 4), new("F6_E2M3", 6), new("F6_E3M2", 6),
    }.ToFrozenDictionary(dtype => dtype.Name, StringComparer.Ordinal);

    /// <summary>32-bit floating point.</summary>
    public static TensorDtype Float32 { get; } = _byName["F32"];

    /// <summary>64-bit floating point.</summary>
    public static TensorDtype Float64 { get; } = _byName["F64"];

    /// <summary>IEEE 16-bit floating point.</summary>
    public static TensorDtype Float16 { get; } = _byName["F16"];

    /// <summary>16-bit floating point with the exponent range of 32-bit.</summary>
    public static TensorDtype BFloat16 { get; } = _byName["BF16"];

    /// <summary>Signed 64-bit integer.</summary>
    public static TensorDtype Int64 { get; } = _byName["I64"];

    /// <summary>Signed 32-bit integer.</summary>
    public static TensorDtype Int32 { get; } = _byName["I32"];

    /// <summary>Unsigned byte.</summary>
    public static TensorDtype UInt8 { get; } = _byName["U8"];

    /// <summary>All known types.</summary>
    public static IReadOnlyList<TensorDtype> All { get; } = _byName.Values;

    /// <summary>The type a header names, or null where the name is unknown.</summary>
    public static TensorDtype? Find(string name) => _byName.GetValueOrDefault(name);

    /// <summary>Bytes a tensor of this shape takes, or null where that is no whole number or does not fit.</summary>
    public long? ByteCount(ReadOnlySpan<long> shape)
    {
        var bits = (UInt128)Bits;
        var empty = false;
        foreach (var size in shape)
        {
            if (size < 0)
                return null;
            empty |= size == 0;
            bits *= (UInt128)Math.Max(size, 1);
            if (bits > (UInt128)long.MaxValue * 8)
                return null;
        }
        return empty ? 0 : bits % 8 == 0 ? (long)(bits / 8) : null;
    }
}
