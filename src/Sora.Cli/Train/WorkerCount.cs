using Sora.Model.Native;
using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Cli.Train;

/// <summary>How many workers a job gets.</summary>
internal static class WorkerCount
{
    /// <summary>What the job says, or one a GPU, or one for each <c>threads_per_worker</c> cores; never more than lanes.</summary>
    /// <exception cref="SoraException">The job asks for a GPU that is not there.</exception>
    public static WorkerRange Of(TrainingJob job)
    {
        var gpus = Gpus(job);
        if (job.Workers is { } workers) return workers;
        var fitting = gpus > 0 ? (NamesOneGpu(job) ? 1 : gpus) : Math.Max(1, Environment.ProcessorCount / job.ThreadsPerWorker);
        return WorkerRange.Of(Math.Min(fitting, job.Lanes));
    }

    /// <summary>Whether each worker is to see a GPU of its own.</summary>
    public static bool OneGpuEach(TrainingJob job) => !NamesOneGpu(job) && Gpus(job) > 1;

    /// <summary>Whether the workers of this machine compute on GPUs.</summary>
    public static bool HasGpu(TrainingJob job) => Gpus(job) > 0;

    private static bool NamesOneGpu(TrainingJob job) => job.Device.Contains(':', StringComparison.Ordinal);

    private static int Gpus(TrainingJob job)
    {
        // Asking libtorch costs a second; without the driver's device there is nothing to ask for.
        if (job.Device == "cpu" || (job.Device == "auto" && OperatingSystem.IsLinux() && !File.Exists("/dev/nvidiactl") && !File.Exists("/dev/dxg"))) return 0;
        return Devices.Resolve(job.Device).type == TorchSharp.DeviceType.CUDA ? cuda.device_count() : 0;
    }
}
