using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;
using static TorchSharp.torch;

namespace Sora.Model.Native;

/// <summary>What is loaded and what it can use, for <c>sora doctor</c> and a run's fingerprint.</summary>
/// <param name="Version">libtorch's version.</param>
/// <param name="Folder">Where libtorch lies.</param>
/// <param name="TorchSharpLibrary">File of TorchSharp's native library that was loaded: the shipped one or the mended copy.</param>
/// <param name="CpuCapability">Widest vector instructions libtorch uses (DEFAULT, AVX2, AVX512, ...); "unknown" where it does not say.</param>
/// <param name="Threads">Threads libtorch computes with.</param>
/// <param name="HasFusedOperators">Whether operators TorchSharp lacks can be reached; without them slower equivalents are used.</param>
/// <param name="Gpus">CUDA devices, in order, with their names and memory.</param>
public sealed partial record TorchInfo(
    string Version, string Folder, string TorchSharpLibrary, string CpuCapability, int Threads, bool HasFusedOperators, IReadOnlyList<string> Gpus)
{
    private static readonly string[] _libraries = ["Math Kernel Library", "MKL-DNN", "OneDNN", "OpenMP", "CUDA Runtime", "CuDNN"];
    private static readonly string[] _afterVersion = [" (", "-Product", " for "];

    /// <summary>The math libraries it was built with (BLAS, oneDNN, OpenMP, CUDA) and their versions, one each; empty where it does not say.</summary>
    public IReadOnlyList<string> BuiltWith { get; init; } = [];

    /// <summary>How many CUDA devices libtorch sees.</summary>
    public int CudaDevices => Gpus.Count;

    /// <summary>Loads libtorch and asks it.</summary>
    /// <exception cref="Sora.Protocol.Jobs.SoraException">It cannot be loaded; the message says why and what to do.</exception>
    public static TorchInfo Read()
    {
        TorchRuntime.Load();
        var loaded = TorchRuntime.Loaded;
        return new TorchInfo(
            TorchRuntime.VersionText(loaded.Abi), loaded.Folder, loaded.TorchSharpLibrary, Text(loaded.Cpu, "_ZN2at18get_cpu_capabilityB5cxx11Ev") ?? "unknown", get_num_threads(),
            Dispatcher.Available, cuda.is_available() ? Describe(cuda.device_count()) : [])
        {
            BuiltWith = MathLibraries(Text(loaded.Cpu, "_ZN2at11show_configB5cxx11Ev") ?? ""),
        };
    }

    // Such a function returns a std::string: on x86-64 Linux through a hidden first argument, laid out as address, length, buffer.
    private static unsafe string? Text(nint cpu, string symbol)
    {
        if (!OperatingSystem.IsLinux() || RuntimeInformation.ProcessArchitecture != Architecture.X64 || !NativeLibrary.TryGetExport(cpu, symbol, out var function))
            return null;
        var text = stackalloc nint[4];
        ((delegate* unmanaged<nint*, nint>)function)(text);
        return Encoding.ASCII.GetString((byte*)text[0], (int)text[1]);
    }

    /// <summary>The math libraries among the lines of <c>at::show_config()</c>, each without the words after its version.</summary>
    internal static IReadOnlyList<string> MathLibraries(string configuration)
    {
        var blas = BlasPattern().Match(configuration) is { Success: true } match ? [$"BLAS {match.Groups[1].Value}"] : Array.Empty<string>();
        return
        [
            .. blas,
            .. configuration.Split('\n')
                .Where(line => line.StartsWith("  - ", StringComparison.Ordinal) && _libraries.Any(name => line.Contains(name, StringComparison.Ordinal)))
                .Select(line => line[4..].Split(_afterVersion, StringSplitOptions.None)[0].Trim()),
        ];
    }

    [GeneratedRegex(@"\bBLAS_INFO=(\w+)")]
    private static partial Regex BlasPattern();

    // TorchSharp tells only how many there are; names and memory come from the driver.
    private static unsafe string[] Describe(int count)
    {
        var numbered = Enumerable.Range(0, count).Select(i => $"cuda:{i}").ToArray();
        if (!NativeLibrary.TryLoad(OperatingSystem.IsWindows() ? "nvcuda.dll" : "libcuda.so.1", out var driver)
            || !NativeLibrary.TryGetExport(driver, "cuDeviceGet", out var get)
            || !NativeLibrary.TryGetExport(driver, "cuDeviceGetName", out var getName)
            || !NativeLibrary.TryGetExport(driver, "cuDeviceTotalMem_v2", out var getMemory))
            return numbered;
        var name = stackalloc byte[128];
        for (var i = 0; i < count; i++)
        {
            int device;
            nuint memory;
            if (((delegate* unmanaged<int*, int, int>)get)(&device, i) == 0
                && ((delegate* unmanaged<byte*, int, int, int>)getName)(name, 128, device) == 0
                && ((delegate* unmanaged<nuint*, int, int>)getMemory)(&memory, device) == 0)
                numbered[i] += $" {Marshal.PtrToStringUTF8((nint)name)}, {memory / (double)(1 << 30):F0} GiB";
        }
        return numbered;
    }
}
