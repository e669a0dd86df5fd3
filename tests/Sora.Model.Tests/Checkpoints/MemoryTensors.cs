using System.Runtime.InteropServices;
using Sora.Model.Checkpoints;

namespace Sora.Model.Tests.Checkpoints;

/// <summary>Raw tensors in native memory, freed together.</summary>
internal sealed unsafe class MemoryTensors : List<RawTensor>, IDisposable
{
    public RawTensor Add(string name, TensorDtype dtype, long[] shape, ReadOnlySpan<byte> bytes)
    {
        var address = NativeMemory.Alloc((nuint)Math.Max(bytes.Length, 1));
        bytes.CopyTo(new Span<byte>(address, bytes.Length));
        var tensor = new RawTensor(name, dtype, shape, (nint)address);
        Add(tensor);
        return tensor;
    }

    public RawTensor Add(string name, params float[] values) =>
        Add(name, TensorDtype.Float32, [values.Length], MemoryMarshal.AsBytes<float>(values));

    public void Dispose()
    {
        foreach (var tensor in this)
            NativeMemory.Free((void*)tensor.Address);
    }
}
