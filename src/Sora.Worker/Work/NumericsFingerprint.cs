using Sora.Model.Native;

namespace Sora.Worker.Work;

/// <summary>
/// What fixes the bits of a computation, in words. People compare it when canaries differ; the canary itself is the proof.
/// </summary>
internal static class NumericsFingerprint
{
    /// <summary>libtorch, device class, CPU capability and threads; 0 threads: as many as the job says.</summary>
    /// <param name="torch">What is loaded.</param>
    /// <param name="device"><c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</param>
    /// <param name="threads">libtorch threads.</param>
    public static string Of(TorchInfo torch, string device, int threads) => string.Join(", ",
        $"libtorch {torch.Version}",
        device == "cpu" ? "cpu" : GpuOf(torch, device),
        torch.CpuCapability,
        threads == 0 ? "threads of the job" : threads == 1 ? "1 thread" : $"{threads} threads");

    // "cuda:1 (name, memory)" on one machine and "cuda:0 (name, memory)" on another compute alike.
    private static string GpuOf(TorchInfo torch, string device)
    {
        var index = device.IndexOf(':') is var colon and > 0 ? int.Parse(device[(colon + 1)..], System.Globalization.CultureInfo.InvariantCulture) : 0;
        return index < torch.Gpus.Count ? torch.Gpus[index].Replace($"cuda:{index}", "cuda", StringComparison.Ordinal) : "cuda";
    }
}
