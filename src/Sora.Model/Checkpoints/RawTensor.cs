namespace Sora.Model.Checkpoints;

/// <summary>A tensor as files see it: a name, a type, sizes, and contiguous little-endian bytes in memory that somebody else owns.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Dtype">Its element type.</param>
/// <param name="Shape">Its sizes; empty for a scalar.</param>
/// <param name="Address">Its first byte.</param>
public readonly unsafe record struct RawTensor(string Name, TensorDtype Dtype, IReadOnlyList<long> Shape, nint Address)
{
    /// <summary>Bytes it takes.</summary>
    public long ByteCount => Dtype.ByteCount([.. Shape])
        ?? throw new InvalidOperationException($"Tensor '{Name}' has no valid size: {Dtype.Name} [{string.Join(", ", Shape)}].");

    /// <summary>Some of its bytes.</summary>
    public ReadOnlySpan<byte> Bytes(long start, int count) => new((byte*)Address + start, count);
}
