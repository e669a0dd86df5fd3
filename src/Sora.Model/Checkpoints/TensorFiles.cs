using Sora.Model.Native;
using Sora.Model.Training;
using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Checkpoints;

/// <summary>Tensors that belong together and are freed together.</summary>
public sealed class OwnedTensors(IReadOnlyList<NamedTensor> tensors) : IDisposable
{
    /// <summary>The tensors.</summary>
    public IReadOnlyList<NamedTensor> Tensors => tensors;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var tensor in tensors)
            tensor.Value.Dispose();
    }
}

/// <summary>Between libtorch's tensors and safetensors files.</summary>
public static class TensorFiles
{
    private static readonly (ScalarType Torch, TensorDtype File)[] _dtypes =
    [
        (ScalarType.Float32, TensorDtype.Float32), (ScalarType.Float64, TensorDtype.Float64),
        (ScalarType.Float16, TensorDtype.Float16), (ScalarType.BFloat16, TensorDtype.BFloat16),
        (ScalarType.Int64, TensorDtype.Int64), (ScalarType.Int32, TensorDtype.Int32), (ScalarType.Byte, TensorDtype.UInt8),
    ];

    /// <summary>The bytes of a contiguous tensor in host memory; valid as long as the tensor lives.</summary>
    public static RawTensor ToRaw(NamedTensor tensor) =>
        new(tensor.Name, DtypeOf(tensor), tensor.Value.shape, HostMemory.AddressOf(tensor.Value));

    /// <summary>Reads a tensor into host memory.</summary>
    /// <exception cref="SoraException">It cannot be read, or its dtype has no counterpart in libtorch.</exception>
    public static Tensor Read(SafetensorsFile file, TensorEntry entry)
    {
        var dtype = _dtypes.FirstOrDefault(pair => pair.File == entry.Dtype);
        if (dtype.File is null)
            throw new SoraException($"Tensor '{entry.Name}' of {file.Path} is {entry.Dtype.Name}; only {string.Join(", ", _dtypes.Select(pair => pair.File.Name))} can be used.", ExitCode.InvalidInput);
        var tensor = empty([.. entry.Shape], dtype: dtype.Torch, device: CPU);
        try
        {
            file.Read(entry, HostMemory.AddressOf(tensor));
            GC.KeepAlive(tensor);
            return tensor;
        }
        catch
        {
            tensor.Dispose();
            throw;
        }
    }

    /// <summary>Reads all tensors of some files into host memory.</summary>
    /// <exception cref="SoraException">As for <see cref="Read"/>.</exception>
    public static OwnedTensors ReadAll(params IReadOnlyList<SafetensorsFile> files)
    {
        using var scope = NewDisposeScope();
        var tensors = files.SelectMany(file => file.Tensors, (file, entry) => new NamedTensor(entry.Name, Read(file, entry))).ToList();
        foreach (var tensor in tensors)
            tensor.Value.DetachFromDisposeScope();
        return new OwnedTensors(tensors);
    }

    private static TensorDtype DtypeOf(NamedTensor tensor) =>
        _dtypes.FirstOrDefault(pair => pair.Torch == tensor.Value.dtype).File
        ?? throw new ArgumentException($"Tensor '{tensor.Name}' is {tensor.Value.dtype}, which checkpoints do not hold.", nameof(tensor));
}
