using Sora.Model.Checkpoints;
using Sora.Protocol.Jobs;

namespace Sora.Model.Zoo.Adapters;

/// <summary>A layer that can have an adapter.</summary>
/// <param name="Module">Its name in Hugging Face's network.</param>
/// <param name="Projection">The linear layer of ours that holds it.</param>
/// <param name="FirstRow">Its first output there.</param>
/// <param name="Rows">Its outputs.</param>
internal sealed record AdapterPlace(string Module, Projection Projection, long FirstRow, long Rows);

/// <summary>
/// The layers of a network that can have adapters, as Hugging Face's libraries cut it: a Llama's queries, keys and values are three
/// layers, a GPT-2's are one, and an adapter's file follows that.
/// </summary>
internal static class AdapterPlaces
{
    private const string Suffix = ".weight";

    /// <summary>All of them, in the order of the network.</summary>
    public static IReadOnlyList<AdapterPlace> Of(LanguageModel model, ModelSettings settings)
    {
        var rows = new Dictionary<string, (Projection Projection, long First, long Count)>(StringComparer.Ordinal);
        foreach (var projection in model.Adaptable)
        {
            var first = 0L;
            foreach (var (name, outputs) in projection.Layers)
            {
                rows.Add(name + Suffix, (projection, first, outputs));
                first += outputs;
            }
        }
        var description = new ModelDescription(settings, model.VocabSize, model.MaxPositions, EndOfText: 0);
        return
        [
            .. HubWeights.LayoutOf(description, rows.Keys).Where(tensor => rows.ContainsKey(tensor.Parameters[0])).Select(tensor => new AdapterPlace(
                tensor.Name[..^Suffix.Length], rows[tensor.Parameters[0]].Projection, rows[tensor.Parameters[0]].First, tensor.Parameters.Sum(name => rows[name].Count))),
        ];
    }

    /// <summary>What PEFT calls these layers: the ends of their names.</summary>
    public static IReadOnlyList<string> Kinds(IEnumerable<string> modules) =>
        [.. modules.Select(module => module[(module.LastIndexOf('.') + 1)..]).Distinct(StringComparer.Ordinal)];

    private static IReadOnlyList<string> Kinds(IEnumerable<AdapterPlace> places) => Kinds(places.Select(place => place.Module));

    /// <summary>Those a job names.</summary>
    /// <exception cref="SoraException">It names one that the network does not have.</exception>
    public static IReadOnlyList<AdapterPlace> Targets(IReadOnlyList<AdapterPlace> places, LoraSettings lora)
    {
        var wanted = Wanted(places, lora);
        if (wanted.FirstOrDefault(name => !places.Any(place => IsNamed(place, name))) is { } unknown)
        {
            throw new SoraException(
                $"lora.target_modules names '{unknown}', but the layers of this network that can have adapters are {string.Join(", ", Kinds(places))}, or {LoraSettings.AllLinear}.",
                ExitCode.Usage);
        }
        return [.. places.Where(place => wanted.Any(name => IsNamed(place, name)))];
    }

    // What PEFT takes for these architectures when it is told nothing.
    private static IReadOnlyList<string> Wanted(IReadOnlyList<AdapterPlace> places, LoraSettings lora) =>
        lora.TargetModules.Count > 0 ? lora.TargetModules : Kinds(places).Contains("c_attn") ? ["c_attn"] : ["q_proj", "v_proj"];

    private static bool IsNamed(AdapterPlace place, string name) =>
        name == LoraSettings.AllLinear || place.Module == name || place.Module.EndsWith("." + name, StringComparison.Ordinal);
}
