using System.Security.Cryptography;
using Sora.Model.Native;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Training;

/// <summary>
/// Carries flat gradients between the device and the exchange, which works in host memory. On the CPU nothing is copied; a
/// GPU's go through pinned buffers.
/// </summary>
internal sealed class HostStaging(long length, Device device) : IDisposable
{
    private const int HashedAtOnce = 1 << 26;

    private readonly List<Tensor> _pinned = [];

    private bool OnHost => device.type == DeviceType.CPU;

    /// <summary>Sums the gradients of all workers. The first buffers are the sums of the nodes; the result may be the only node's.</summary>
    public (StepTotals Totals, TimeSpan Elapsed) AllReduce(
        IGradientExchange exchange, long step, IReadOnlyList<LaneRange> nodes, IReadOnlyList<GradientBuffer> buffers, GradientBuffer result,
        ReadOnlySpan<LaneTotals> totals, bool stopRequested, TimeProvider time)
    {
        var started = time.GetTimestamp();
        var subtrees = new SubtreeSum[nodes.Count];
        for (var i = 0; i < subtrees.Length; i++)
            subtrees[i] = new SubtreeSum(nodes[i], HostMemory.AddressOf(ToHost(buffers[i].Flat, i)));
        var host = OnHost ? result.Flat : nodes.Count == 1 ? Pinned(0) : Pinned(nodes.Count);
        var sum = exchange.AllReduce(step, subtrees, totals, stopRequested, HostMemory.AddressOf(host), length);
        if (!OnHost)
            result.Flat.copy_(host, nonBlocking: true);
        return (sum, time.GetElapsedTime(started));
    }

    /// <summary>SHA-256 (hex) of a flat tensor's bytes.</summary>
    public unsafe string Sha256(Tensor flat)
    {
        var host = ToHost(flat, 0);
        var address = (byte*)HostMemory.AddressOf(host);
        var left = host.numel() * host.element_size();
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        while (left > 0)
        {
            var count = (int)Math.Min(left, HashedAtOnce);
            hash.AppendData(new ReadOnlySpan<byte>(address, count));
            address += count;
            left -= count;
        }
        GC.KeepAlive(host);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    public void Dispose() => _pinned.ForEach(buffer => buffer.Dispose());

    private Tensor ToHost(Tensor flat, int slot) => OnHost ? flat : Pinned(slot).copy_(flat);

    private Tensor Pinned(int slot)
    {
        while (_pinned.Count <= slot)
        {
            using var pageable = zeros(length, dtype: ScalarType.Float32);
            _pinned.Add(pageable.pin_memory().DetachFromDisposeScope());
        }
        return _pinned[slot];
    }
}
