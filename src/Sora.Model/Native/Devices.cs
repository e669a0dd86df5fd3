using Sora.Protocol.Jobs;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Native;

/// <summary>Turns the job's <c>device</c> into a device that is there.</summary>
public static class Devices
{
    /// <summary>Resolves <c>auto</c>, <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>; <c>auto</c> is the first GPU, or the CPU.</summary>
    /// <exception cref="SoraException">The text is none of these, or the GPU is not there.</exception>
    public static Device Resolve(string device)
    {
        TorchRuntime.Load();
        switch (device)
        {
            case "cpu":
                return CPU;
            case "auto":
                return cuda.is_available() ? new Device(DeviceType.CUDA, 0) : CPU;
        }
        var index = 0;
        if (device != "cuda" && !(device.StartsWith("cuda:", StringComparison.Ordinal) && int.TryParse(device[5..], out index) && index >= 0))
            throw new SoraException($"device is '{device}'; write auto, cpu, cuda or cuda:N.", ExitCode.Usage);
        var count = cuda.is_available() ? cuda.device_count() : 0;
        if (index >= count)
        {
            throw new SoraException(
                $"device is '{device}', but libtorch sees {(count == 0 ? "no CUDA GPU" : $"{count} CUDA GPU(s), numbered from 0")}. " +
                (count == 0 ? $"Build with -p:Torch=cuda or point {LibtorchFolder.Variable} at a CUDA libtorch, check nvidia-smi, or set device: cpu." : "Choose one of them."),
                ExitCode.Usage);
        }
        return new Device(DeviceType.CUDA, index);
    }
}
