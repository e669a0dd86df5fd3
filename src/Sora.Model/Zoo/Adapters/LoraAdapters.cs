using Sora.Protocol.Jobs;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Sora.Model.Zoo.Adapters;

/// <summary>Puts adapters into a network.</summary>
internal static class LoraAdapters
{
    /// <summary>What PEFT puts before the name of each layer in its files.</summary>
    public const string NamePrefix = "base_model.model.";

    private const string Infix = ".lora_";

    /// <summary>Adds adapters to the layers a job names.</summary>
    /// <returns>Their weights, by the names PEFT gives them.</returns>
    /// <exception cref="SoraException">The network has no such layers.</exception>
    public static IReadOnlyList<Weight> Add(LanguageModel model, ModelSettings settings, LoraSettings lora)
    {
        var places = AdapterPlaces.Of(model, settings);
        if (places.Count == 0)
            throw new SoraException("lora.r is set, but this network has no layer that can have an adapter: only a decoder has. Leave lora out to train all weights.", ExitCode.Usage);
        return [.. AdapterPlaces.Targets(places, lora).SelectMany(place => Add(place, lora))];
    }

    /// <summary>The layer that an adapter's weight belongs to.</summary>
    public static string ModuleOf(string weight) => weight[NamePrefix.Length..weight.LastIndexOf(Infix, StringComparison.Ordinal)];

    private static Weight[] Add(AdapterPlace place, LoraSettings lora)
    {
        var layer = place.Projection.Weight; // [outputs, inputs]
        var inputs = layer.shape[1];
        var a = new Parameter(zeros([lora.R, inputs], dtype: layer.dtype, device: layer.device));
        var b = new Parameter(zeros([place.Rows, lora.R], dtype: layer.dtype, device: layer.device));
        place.Projection.Add(new LoraAdapter(place.FirstRow, a, b, lora.Scaling, lora.LoraDropout));
        return
        [
            // Kaiming's uniform bound with a = sqrt(5), PyTorch's own for a linear layer.
            new Weight(a, InitialValue.Uniform(1 / Math.Sqrt(inputs)), $"{NamePrefix}{place.Module}{Infix}A.weight"),
            new Weight(b, InitialValue.Constant(0), $"{NamePrefix}{place.Module}{Infix}B.weight"),
        ];
    }
}
