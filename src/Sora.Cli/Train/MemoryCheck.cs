using Sora.Cli.Display;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Train;

/// <summary>Whether the workers of this machine fit into its memory: the system itself says so late, or kills.</summary>
internal static class MemoryCheck
{
    private const int Doubtless = 2; // the plan's figure is an estimate, and a machine may have swap

    /// <summary>Compares what is planned with what there is.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="workers">Workers on this machine.</param>
    /// <param name="available">Bytes this machine has.</param>
    /// <returns>A warning; null where they fit, or where what they need is a GPU's.</returns>
    /// <exception cref="SoraException">They cannot fit.</exception>
    public static string? Of(RunPlan plan, int workers, long available)
    {
        var needed = (double)plan.MemoryBytesPerWorker * workers;
        if (plan.Device != "cpu" || needed <= available) return null;
        var finding = $"{(workers == 1 ? "the worker of this machine needs" : $"the {workers} workers of this machine need")} about {Format.Bytes(needed)} of memory, and it has {Format.Bytes(available)}";
        return needed <= Doubtless * (double)available
            ? $"{finding}; the run may be very slow or be ended by the system"
            : throw new SoraException(
                $"This run does not fit: {finding}. Use fewer workers here (--workers, --local-workers), a smaller model, context_length or per_device_train_batch_size, or a machine with more memory.",
                ExitCode.Usage);
    }
}
