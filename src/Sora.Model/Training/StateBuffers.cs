using Sora.Model.Native;
using Sora.Protocol.Exchange;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Training;

/// <summary>Host memory for a state of a <see cref="Trainer"/>, beside the one it computes with: one flat fp32 tensor a part.</summary>
public sealed class StateBuffers : IDisposable
{
    internal StateBuffers(IEnumerable<long> lengths, Device device)
    {
        Parts = [.. lengths.Select(length => Allocate(length, device))];
        Regions = RegionsOf(Parts);
    }

    /// <summary>Where the parts lie; valid until this is disposed.</summary>
    public IReadOnlyList<StateRegion> Regions { get; }

    internal IReadOnlyList<Tensor> Parts { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var part in Parts)
            part.Dispose();
    }

    internal static IReadOnlyList<StateRegion> RegionsOf(IEnumerable<Tensor> parts) =>
        [.. parts.Select(part => new StateRegion(HostMemory.AddressOf(part), part.numel() * part.element_size()))];

    private static Tensor Allocate(long length, Device device)
    {
        var pageable = zeros(length, dtype: ScalarType.Float32);
        if (device.type != DeviceType.CUDA)
            return pageable.DetachFromDisposeScope();
        using (pageable)
            return pageable.pin_memory().DetachFromDisposeScope();
    }
}
