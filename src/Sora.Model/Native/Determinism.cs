using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace Sora.Model.Native;

/// <summary>
/// Makes CUDA repeat itself. Kernels on the CPU already do for a fixed thread count. TorchSharp has no
/// <c>use_deterministic_algorithms</c>, so libtorch's own setters are called by their C++ names where they are exported (Linux).
/// </summary>
internal static unsafe partial class Determinism
{
    /// <summary>Chooses deterministic kernels; best effort, the canary proves the effect.</summary>
    public static void Enable(Device device, bool tf32)
    {
        if (device.type != TorchSharp.DeviceType.CUDA)
            return;
        backends.cuda.matmul.allow_tf32 = tf32;
        backends.cudnn.allow_tf32 = tf32;
        if (!OperatingSystem.IsLinux())
            return;
        // cuBLAS repeats itself only with a fixed workspace; it reads this when its first handle is made.
        if (SetEnvironment("CUBLAS_WORKSPACE_CONFIG", ":4096:8", overwrite: 0) != 0)
            throw new InvalidOperationException("The environment variable CUBLAS_WORKSPACE_CONFIG cannot be set.");
        var torch = TorchRuntime.Loaded.Cpu;
        if (!NativeLibrary.TryGetExport(torch, "_ZN2at13globalContextEv", out var globalContext))
            return;
        var context = ((delegate* unmanaged<nint>)globalContext)();
        if (NativeLibrary.TryGetExport(torch, "_ZN2at7Context26setDeterministicAlgorithmsEbb", out var setAlgorithms))
            ((delegate* unmanaged<nint, byte, byte, void>)setAlgorithms)(context, 1, 1); // warn where a kernel has no deterministic form
        if (NativeLibrary.TryGetExport(torch, "_ZN2at7Context39setDeterministicFillUninitializedMemoryEb", out var setFill))
            ((delegate* unmanaged<nint, byte, void>)setFill)(context, 0); // fills every new tensor; nothing here reads what it did not write
        if (NativeLibrary.TryGetExport(torch, "_ZN2at7Context21setDeterministicCuDNNEb", out var setCudnn))
            ((delegate* unmanaged<nint, byte, void>)setCudnn)(context, 1);
        if (NativeLibrary.TryGetExport(torch, "_ZN2at7Context17setBenchmarkCuDNNEb", out var setBenchmark))
            ((delegate* unmanaged<nint, byte, void>)setBenchmark)(context, 0);
    }

    // The runtime's own setter changes a managed copy that native code does not see.
    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetEnvironment(string name, string value, int overwrite);
}
