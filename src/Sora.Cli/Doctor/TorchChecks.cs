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
        return [Library(torch), Adapter(torch), .. torch.BuiltWith.Count > 0 ? [MathLibraries(torch)] : Array.Empty<Finding>(), Processor(torch), Gpus(torch)];
    }

    private static Finding Library(TorchInfo torch) =>
        new("libtorch", Verdict.Good, $"{torch.Version} in {torch.Folder}{(Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } ? $" (named by {Variable})" : "")}");

    private static Finding Adapter(TorchInfo torch) => torch.HasFusedOperators
        ? new("torchsharp", Verdict.Good, torch.TorchSharpLibrary)
        : new("torchsharp", Verdict.Note, $"{torch.TorchSharpLibrary}, without libtorch's C interface", "Some operators run in slower managed forms; libtorch 2.10 has the interface.");

    private static Finding MathLibraries(TorchInfo torch) => new("math", Verdict.Good, string.Join(", ", torch.BuiltWith));

    private static Finding Processor(TorchInfo torch) => torch.CpuCapability is "DEFAULT" && X86Base.IsSupported
        ? new("cpu", Verdict.Note, "libtorch uses no vector instructions wider than SSE", "It is slow on this processor; AVX2 is common since 2013. Look at ATEN_CPU_CAPABILITY too.")
        : new("cpu", Verdict.Good, $"{torch.CpuCapability} kernels, {torch.Threads} threads unless the job says otherwise");

    private static Finding Gpus(TorchInfo torch)
    {
        if (torch.CudaDevices > 0) return new("gpu", Verdict.Good, string.Join("; ", torch.Gpus));
        return File.Exists("/dev/nvidiactl")
            ? new("gpu", Verdict.Note, "the NVIDIA driver is there but this libtorch sees no GPU", $"Build with -p:Torch=cuda, or point {Variable} at a CUDA libtorch.")
            : new("gpu", Verdict.Good, "none; device: auto means cpu");
    }
}
