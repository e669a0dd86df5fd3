using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Training;

/// <summary>Reads micro-batches from host memory into tensors on the device.</summary>
internal sealed class MicroBatch(int batch, int time, Device device) : IDisposable
{
    // Pinned memory lets a GPU fetch it while it computes.
    private readonly Tensor _host = Host(batch, time, device);

    /// <summary>Where a batch source writes: [batch, time + 1].</summary>
    public int[] Tokens { get; } = new int[batch * (time + 1)];

    /// <summary>Targets that count: those that are not -1.</summary>
    public long TargetTokens { get; private set; }

    /// <summary>The same of one row.</summary>
    public int TargetsIn(int row) => time - Tokens.AsSpan(row * (time + 1) + 1, time).Count(-1);

    /// <summary>Makes the tensors of what is in <see cref="Tokens"/>; both [batch, time] int64.</summary>
    public (Tensor Input, Tensor Target) ToDevice()
    {
        var host = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, long>(Native.HostMemory.BytesOf(_host));
        TargetTokens = 0;
        for (var row = 0; row < batch; row++)
        {
            for (var column = 0; column <= time; column++)
            {
                host[row * (time + 1) + column] = Tokens[row * (time + 1) + column];
                if (column > 0 && Tokens[row * (time + 1) + column] >= 0)
                    TargetTokens++;
            }
        }
        var tokens = _host.to(device, copy: true, non_blocking: true);
        // Rows without targets still pass through the network; any valid id will do as their input.
        return (tokens.narrow(1, 0, time).clamp_min(0), tokens.narrow(1, 1, time).contiguous());
    }

    public void Dispose() => _host.Dispose();

    private static Tensor Host(int batch, int time, Device device)
    {
        var host = zeros(batch, time + 1, dtype: ScalarType.Int64);
        if (device.type == DeviceType.CUDA)
            using (var pageable = host)
                host = pageable.pin_memory();
        return host.DetachFromDisposeScope();
    }
}
