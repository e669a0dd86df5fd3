using Sora.Protocol.Jobs;

namespace Sora.Cli.Train;

/// <summary>What <c>device</c> comes to for the workers of this machine, as it is shown.</summary>
internal static class LocalDevice
{
    /// <summary>The job's own word, but <c>cpu</c> or <c>cuda</c> for <c>auto</c>.</summary>
    /// <exception cref="SoraException">The job asks for a GPU that is not there.</exception>
    public static string Of(TrainingJob job) => job.Device != "auto" ? job.Device : WorkerCount.HasGpu(job) ? "cuda" : "cpu";
}
