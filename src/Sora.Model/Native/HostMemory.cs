using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace Sora.Model.Native;

/// <summary>Addresses of tensors in host memory: no copy, no 2 GiB limit.</summary>
public static unsafe partial class HostMemory
{
    /// <summary>Address of the first element of a contiguous tensor in host memory; valid as long as the tensor lives.</summary>
    /// <exception cref="ArgumentException">The tensor is on a GPU or not contiguous.</exception>
    public static nint AddressOf(Tensor tensor)
    {
        if (tensor.device_type != TorchSharp.DeviceType.CPU || !tensor.is_contiguous())
            throw new ArgumentException($"A contiguous tensor in host memory is needed; this one is on {tensor.device} with strides [{string.Join(", ", tensor.stride())}].", nameof(tensor));
        var address = Data(tensor.Handle);
        GC.KeepAlive(tensor);
        return address;
    }

    /// <summary>The bytes of a contiguous tensor in host memory, at most 2 GiB; valid as long as the tensor lives.</summary>
    public static Span<byte> BytesOf(Tensor tensor) => new((void*)AddressOf(tensor), checked((int)(tensor.numel() * tensor.element_size())));

    [LibraryImport("LibTorchSharp", EntryPoint = "THSTensor_data")]
    private static partial nint Data(nint tensor);
}
