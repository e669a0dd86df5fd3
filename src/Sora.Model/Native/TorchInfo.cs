using Sora.Protocol.Jobs;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Native;

/// <summary>What <c>sora doctor</c> tells of the native libraries.</summary>
/// <param name="Folder">Where libtorch was loaded from.</param>
/// <param name="Version">Its version.</param>
/// <param name="TorchSharpLibrary">TorchSharp's native library: as shipped, or the copy mended for an older system.</param>
/// <param name="HasFusedOperators">Whether operators are called through libtorch's C interface rather than the managed fallbacks.</param>
/// <param name="CudaDevices">CUDA GPUs that libtorch sees.</param>
public sealed record TorchInfo(string Folder, string Version, string TorchSharpLibrary, bool HasFusedOperators, int CudaDevices)
{
    /// <summary>Loads the libraries and looks.</summary>
    /// <exception cref="SoraException">They cannot be loaded; the message says why.</exception>
    public static TorchInfo Read()
    {
        TorchRuntime.Load();
        var loaded = TorchRuntime.Loaded;
        return new TorchInfo(
            loaded.Folder, TorchRuntime.VersionText(loaded.Abi), loaded.TorchSharpLibrary, Dispatcher.Available,
            cuda.is_available() ? cuda.device_count() : 0);
    }
}
