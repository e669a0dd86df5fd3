using Sora.Model.Zoo.Adapters;

namespace Sora.Model.Checkpoints.Adapters;

/// <summary>
/// How a folder holds adapters: as Hugging Face's PEFT does, so that PEFT can read it. The network they belong to is not in it.
/// </summary>
public static class AdapterFiles
{
    /// <summary>File of the adapters' weights.</summary>
    public const string WeightsFileName = "adapter_model.safetensors";

    /// <summary>Whether a folder holds adapters and not a network.</summary>
    public static bool AreIn(string folder) => File.Exists(Path.Combine(folder, AdapterConfig.FileName));

    /// <summary>Whether these are the names of adapters' weights.</summary>
    internal static bool AreNamed(IReadOnlyCollection<string> names) =>
        names.Count > 0 && names.All(name => name.StartsWith(LoraAdapters.NamePrefix, StringComparison.Ordinal));
}
