using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Sora.Protocol.Jobs;

namespace Sora.Model.Native;

/// <summary>Loads libtorch and TorchSharp's native library so that TorchSharp finds both in the process and looks no further.</summary>
public static unsafe class TorchRuntime
{
    /// <summary>The libtorch that TorchSharp's native library is built for. Its C++ interface differs between minor versions.</summary>
    public const string ExpectedVersion = "2.10";

    private const ulong ExpectedAbi = 0x020a;

    private static readonly Lazy<LoadedTorch> _loaded = new(LoadOnce, LazyThreadSafetyMode.ExecutionAndPublication);

    /// <summary>
    /// Loads everything once. Call it before work that needs tensors begins, so that what is wrong is reported clearly;
    /// it is also done when TorchSharp is first touched.
    /// </summary>
    /// <exception cref="SoraException">Something is missing or of the wrong version; the message says what and what to do.</exception>
    public static void Load() => _ = _loaded.Value;

    internal static LoadedTorch Loaded => _loaded.Value;

    // Spares most entry points the worry: TorchSharp must find the libraries loaded when its static constructor runs, and the
    // event fires before that. Programs that never touch a tensor never pay for libtorch. Neither place can report an error
    // (the runtime drops what the handler throws, a module initializer must not fail): `Load` throws it again.
#pragma warning disable CA2255
    [ModuleInitializer]
#pragma warning restore CA2255
    internal static void LoadWithTorchSharp()
    {
        const string TorchSharp = nameof(TorchSharp);
        AppDomain.CurrentDomain.AssemblyLoad += static (_, loaded) =>
        {
            if (loaded.LoadedAssembly.GetName().Name == TorchSharp)
                Load();
        };
        if (AppDomain.CurrentDomain.GetAssemblies().Any(assembly => assembly.GetName().Name == TorchSharp))
        {
            try
            {
                Load();
            }
            catch (SoraException)
            {
                // Kept by the Lazy and thrown again by the first who calls Load.
            }
        }
    }

    private static LoadedTorch LoadOnce()
    {
        var folder = LibtorchFolder.Find();
        nint cpu = 0;
        // In the order of their dependencies; the CUDA ones exist only in a CUDA build.
        foreach (var name in new[] { "c10", "torch_cpu", "c10_cuda", "torch_cuda", "torch" })
        {
            var path = Path.Combine(folder, SharedLibrary.FileName(name));
            if (name.EndsWith("_cuda", StringComparison.Ordinal) && !File.Exists(path))
                continue;
            if (SharedLibrary.TryLoadNow(path, out var handle) is { } error)
                throw new SoraException($"libtorch does not load from {folder}: {error}. Install libtorch {ExpectedVersion} for this system and point {LibtorchFolder.Variable} at it.", ExitCode.Usage);
            if (name == "torch_cpu")
                cpu = handle;
        }
        var abi = AbiVersion(cpu);
        if (abi >> 48 != ExpectedAbi)
            throw new SoraException($"{folder} holds libtorch {VersionText(abi)}; this program needs {ExpectedVersion}. Install that version and point {LibtorchFolder.Variable} at it.", ExitCode.Usage);
        return new LoadedTorch(folder, cpu, abi, TorchSharpLibrary.Load(LibtorchFolder.FindTorchSharp(), VersionText(abi)));
    }

    internal static string VersionText(ulong abi) => abi == 0 ? "older than 2.9 (it does not tell its version)" : $"{abi >> 56}.{(abi >> 48) & 0xff}.{(abi >> 40) & 0xff}";

    private static ulong AbiVersion(nint cpu) =>
        NativeLibrary.TryGetExport(cpu, "aoti_torch_abi_version", out var function) ? ((delegate* unmanaged<ulong>)function)() : 0;
}

/// <summary>What was loaded.</summary>
/// <param name="Folder">Where libtorch lies.</param>
/// <param name="Cpu">Handle of libtorch_cpu.</param>
/// <param name="Abi">Its version: major in the top byte, then minor, then patch.</param>
/// <param name="TorchSharpLibrary">File of TorchSharp's native library: the original or the mended copy.</param>
internal sealed record LoadedTorch(string Folder, nint Cpu, ulong Abi, string TorchSharpLibrary);
