using Sora.Model.Native;
using Sora.Model.Zoo;
using Sora.Protocol.Jobs;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Cli.Train;

/// <summary>How large a job's network is.</summary>
/// <param name="Parameters">Trainable values.</param>
/// <param name="FlopsPerToken">Floating-point operations of forward and backward.</param>
/// <param name="Frozen">Values that are not trained.</param>
internal sealed record NetworkSize(long Parameters, double FlopsPerToken, long Frozen = 0)
{
    /// <summary>Measures a network by building it without memory: the meta device keeps shapes only.</summary>
    /// <exception cref="SoraException">Its settings do not fit together, or libtorch cannot be loaded.</exception>
    public static NetworkSize Of(TrainingJob job, int vocabSize)
    {
        try
        {
            using var model = ModelZoo.Create(job.Model, vocabSize, job.ContextLength, new Device(DeviceType.META), lora: job.Lora);
            return new NetworkSize(model.TrainableCount, model.FlopsPerToken(job.ContextLength), job.Lora.IsOn ? model.ParameterCount : 0);
        }
        catch (Exception e) when (MemoryErrors.Explain(e) is { } explained)
        {
            throw explained; // shapes have a limit, too
        }
    }
}
