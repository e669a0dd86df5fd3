using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace Sora.Worker.Work;

/// <summary>
/// What fixes the bits of a computation, in words. People compare it when canaries differ; the canary itself is the proof.
/// </summary>
internal static class NumericsFingerprint
{
    /// <summary>libtorch, device class, CPU capability and threads; 0 threads: as many as the job says.</summary>
    public static string Of(string libtorch, string device, int threads) =>
        $"libtorch {libtorch}, {device.Split(':')[0]}, {CpuCapability}, {(threads == 0 ? "threads of the job" : threads == 1 ? "1 thread" : $"{threads} threads")}";

    // libtorch chooses its kernels by the same levels.
    private static string CpuCapability =>
        Avx512F.IsSupported ? "AVX512" : Avx2.IsSupported ? "AVX2" : AdvSimd.IsSupported ? "NEON" : "baseline";
}
