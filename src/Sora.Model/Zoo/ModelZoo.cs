using Sora.Model.Native;
using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Zoo;

/// <summary>Makes the networks a job can name.</summary>
public static class ModelZoo
{
    /// <summary>Makes a network; its weights mean nothing until <see cref="LanguageModel.Initialize"/> or <see cref="LanguageModel.LoadWeights"/>.</summary>
    /// <param name="settings">The job's <c>model</c>.</param>
    /// <param name="vocabSize">Entries of the tokenizer's vocabulary.</param>
    /// <param name="contextLength">The job's <c>context_length</c>.</param>
    /// <param name="device">Where it lives; default the CPU. It is not moved later.</param>
    /// <param name="dtype">Its precision; default fp32.</param>
    /// <param name="lora">Adapters to add; then they are what is trained. Default: none.</param>
    /// <exception cref="SoraException">The settings do not fit together.</exception>
    public static LanguageModel Create(
        ModelSettings settings, int vocabSize, int contextLength, Device? device = null, ScalarType dtype = ScalarType.Float32, LoraSettings? lora = null)
    {
        TorchRuntime.Load();
        device ??= CPU;
        LanguageModel model = settings.Type switch
        {
            ModelKind.Decoder => new Decoder(new DecoderShape(settings, vocabSize, contextLength), device, dtype),
            ModelKind.Lstm => new Lstm(settings, vocabSize, contextLength, device, dtype),
            _ => throw new SoraException($"Unknown model type {settings.Type}.", ExitCode.Usage),
        };
        if (lora is { IsOn: true })
        {
            try
            {
                model.AddAdapters(settings, lora);
            }
            catch
            {
                model.Dispose();
                throw;
            }
        }
        return model;
    }
}
