using Sora.Model.Checkpoints.Adapters;
using Sora.Model.Training;
using Sora.Protocol.Jobs;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Checkpoints;

/// <summary>Weights between our model and <c>model.safetensors</c>.</summary>
public static class HubWeights
{
    /// <summary>The file's name, where there is one only.</summary>
    public const string FileName = "model.safetensors";

    /// <summary>The tensors of a model's files, in the order of the network; or of its adapters, which have their files' names already.</summary>
    /// <param name="model">What it is.</param>
    /// <param name="parameters">Names of our parameters.</param>
    public static IReadOnlyList<HubTensor> LayoutOf(ModelDescription model, IEnumerable<string> parameters)
    {
        var names = parameters.ToList();
        return model.Architecture == HubArchitecture.Gpt2 && !AdapterFiles.AreNamed(names)
            ? HubLayout.Gpt2(model.Settings.NumHiddenLayers, model.TiedHead)
            : [.. names.Select(name => new HubTensor(name, [name]))];
    }

    /// <summary>Our parameters as the files hold them: contiguous and in host memory, copied only where that asks for it.</summary>
    public static OwnedTensors Export(ModelDescription model, IReadOnlyList<NamedTensor> parameters)
    {
        var layout = LayoutOf(model, parameters.Select(parameter => parameter.Name));
        var homeless = parameters.Select(parameter => parameter.Name).Except(layout.SelectMany(tensor => tensor.Parameters)).ToList();
        return homeless.Count == 0
            ? Export(layout, parameters)
            : throw new ArgumentException($"A {model.Architecture} has no place for {string.Join(", ", homeless)}.", nameof(parameters));
    }

    /// <summary>Some tensors of the files.</summary>
    internal static OwnedTensors Export(IEnumerable<HubTensor> layout, IReadOnlyList<NamedTensor> parameters)
    {
        using var scope = NewDisposeScope();
        using var _ = no_grad();
        var byName = parameters.ToDictionary(parameter => parameter.Name, parameter => parameter.Value, StringComparer.Ordinal);
        var exported = new List<NamedTensor>();
        foreach (var tensor in layout)
        {
            var parts = tensor.Parameters.Select(name => byName.TryGetValue(name, out var value)
                ? value.detach().cpu()
                : throw new ArgumentException($"The model has no parameter '{name}', which tensor '{tensor.Name}' is made of.", nameof(parameters))).ToArray();
            var whole = parts.Length == 1 ? parts[0] : cat(parts, 0);
            exported.Add(new NamedTensor(tensor.Name, (tensor.Transposed ? whole.t() : whole).contiguous()));
        }
        foreach (var tensor in exported)
            tensor.Value.DetachFromDisposeScope();
        return new OwnedTensors(exported);
    }

    /// <summary>The weights of one or several files under the names of our parameters, in the files' precision.</summary>
    /// <exception cref="SoraException">A file is damaged, or together they lack a tensor or hold one that the network has no place for.</exception>
    public static OwnedTensors Import(ModelDescription model, params IReadOnlyList<SafetensorsFile> files)
    {
        using var scope = NewDisposeScope();
        using var _ = no_grad();
        var where = Path.GetDirectoryName(files[0].Path);
        var present = files.SelectMany(file => file.Tensors, (file, entry) => (file, entry))
            .Where(tensor => !HubLayout.MayBeIgnored(tensor.entry.Name, model.TiedHead))
            .ToDictionary(tensor => tensor.entry.Name, StringComparer.Ordinal);
        var layout = LayoutOf(model, present.Keys);
        var imported = new List<NamedTensor>();
        foreach (var tensor in layout)
        {
            var name = HubLayout.Aliases(tensor.Name).FirstOrDefault(present.ContainsKey)
                ?? throw new SoraException($"The weights in {where} lack tensor '{tensor.Name}', which {HubConfig.FileName} promises.", ExitCode.InvalidInput);
            present.Remove(name, out var found);
            imported.AddRange(Split(TensorFiles.Read(found.file, found.entry), tensor, found.file));
        }
        if (present.Count > 0)
            throw new SoraException($"The weights in {where} hold {string.Join(", ", present.Keys.Take(5))}, for which the network of {HubConfig.FileName} has no place.", ExitCode.InvalidInput);
        foreach (var tensor in imported)
            tensor.Value.DetachFromDisposeScope();
        return new OwnedTensors(imported);
    }

    // A tensor of a file as the parameters it is made of.
    private static IEnumerable<NamedTensor> Split(Tensor tensor, HubTensor layout, SafetensorsFile file)
    {
        var shape = $"[{string.Join(", ", tensor.shape)}]";
        if (layout.Transposed && tensor.dim() != 2)
            throw new SoraException($"Tensor '{layout.Name}' of {file.Path} has shape {shape}; a matrix was expected.", ExitCode.InvalidInput);
        var upright = layout.Transposed ? tensor.t() : tensor;
        if (layout.Parameters.Count == 1)
            return [new NamedTensor(layout.Parameters[0], upright)];
        return upright.dim() > 0 && upright.shape[0] % layout.Parameters.Count == 0
            ? upright.chunk(layout.Parameters.Count, 0).Zip(layout.Parameters, (part, parameter) => new NamedTensor(parameter, part))
            : throw new SoraException($"Tensor '{layout.Name}' of {file.Path} has shape {shape}, which does not hold {layout.Parameters.Count} equal parts.", ExitCode.InvalidInput);
    }
}
