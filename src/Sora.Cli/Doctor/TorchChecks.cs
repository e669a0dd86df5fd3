using System.Runtime.Intrinsics.X86;
using Sora.Model.Native;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Doctor;

/// <summary>Whether libtorch can be used, and what it can use.</summary>
internal static class TorchChecks
{
    private const string Variable = "SORA_LIBTORCH";

    public static IEnumerable<Finding> All()
    {
        TorchInfo torch;
        Finding? failure = null;
        try
        {
            torch = TorchInfo.Read();
        }
        catch (SoraException e)
        {
            // The message itself says what to do.
            failure = new Finding("libtorch", Verdict.Bad, e.Message);
            torch = null!;
        }
        if (failure is not null) return [failure];
        return [Library(torch), Adapter(torch), Processor(), Gpus(torch)];
    }

    private static Finding Library(TorchInfo torch) =>
        new("libtorch", Verdict.Good, $"{torch.Version} in {torch.Folder}{(Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } ? $" (named by {Variable})" : "")}");

    private static Finding Adapter(TorchInfo torch) => torch.HasFusedOperators
        ? new("torchsharp", Verdict.Good, torch.TorchSharpLibrary)
        : new("torchsharp", Verdict.Note, $"{torch.TorchSharpLibrary}, without libtorch's C interface", "Some operators run in slower managed forms; libtorch 2.10 has the interface.");

    private static Finding Processor()
    {
        var best = Avx512F.IsSupported ? "AVX-512" : Avx2.IsSupported ? "AVX2" : null;
        var limit = Environment.GetEnvironmentVariable("ATEN_CPU_CAPABILITY");
        return best is null && System.Runtime.Intrinsics.X86.X86Base.IsSupported
            ? new("cpu", Verdict.Note, "no AVX2", "libtorch falls back to slow kernels on this processor.")
            : new("cpu", Verdict.Good, $"{best ?? "default"} kernels{(limit is null ? "" : $", limited by ATEN_CPU_CAPABILITY={limit}")}");
    }

    private static Finding Gpus(TorchInfo torch)
    {
        if (torch.CudaDevices > 0) return new("gpu", Verdict.Good, $"{torch.CudaDevices} CUDA device(s)");
        return File.Exists("/dev/nvidiactl")
            ? new("gpu", Verdict.Note, "the NVIDIA driver is there but this libtorch sees no GPU", $"Build with -p:Torch=cuda, or point {Variable} at a CUDA libtorch.")
            : new("gpu", Verdict.Good, "none; device: auto means cpu");
    }
}
