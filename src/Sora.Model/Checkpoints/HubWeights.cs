using Sora.Model.Training;
using Sora.Protocol.Jobs;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Checkpoints;

/// <summary>Weights between our model and <c>model.safetensors</c>.</summary>
public static class HubWeights
{
    /// <summary>The file's name.</summary>
    public const string FileName = "model.safetensors";

    /// <summary>Our parameters as the file holds them: contiguous and in host memory, copied only where that asks for it.</summary>
    public static OwnedTensors Export(ModelDescription model, IReadOnlyList<NamedTensor> parameters)
    {
        using var scope = NewDisposeScope();
        using var _ = no_grad();
        var layout = model.Architecture == HubArchitecture.Gpt2
            ? HubLayout.Gpt2(model.Settings.NumHiddenLayers, model.TiedHead)
            : [.. parameters.Select(parameter => new HubTensor(parameter.Name, [parameter.Name]))];
        var byName = parameters.ToDictionary(parameter => parameter.Name, parameter => parameter.Value, StringComparer.Ordinal);
        var exported = new List<NamedTensor>(layout.Count);
        foreach (var tensor in layout)
        {
            var parts = tensor.Parameters.Select(name => byName.Remove(name, out var value)
                ? value.detach().cpu()
                : throw new ArgumentException($"The model has no parameter '{name}', which a {model.Architecture} needs.", nameof(parameters))).ToArray();
            var whole = parts.Length == 1 ? parts[0] : cat(parts, 0);
            exported.Add(new NamedTensor(tensor.Name, (tensor.Transposed ? whole.t() : whole).contiguous()));
        }
        if (byName.Count > 0)
            throw new ArgumentException($"A {model.Architecture} has no place for {string.Join(", ", byName.Keys)}.", nameof(parameters));
        foreach (var tensor in exported)
            tensor.Value.DetachFromDisposeScope();
        return new OwnedTensors(exported);
    }

    /// <summary>A file's weights under the names of our parameters, in the file's precision.</summary>
    /// <exception cref="SoraException">The file is damaged, lacks a tensor or holds one that the network has no place for.</exception>
    public static OwnedTensors Import(ModelDescription model, SafetensorsFile file)
    {
        using var scope = NewDisposeScope();
        using var _ = no_grad();
        var present = file.Tensors.Where(entry => !HubLayout.MayBeIgnored(entry.Name, model.TiedHead)).ToDictionary(entry => entry.Name, StringComparer.Ordinal);
        var layout = model.Architecture == HubArchitecture.Gpt2
            ? HubLayout.Gpt2(model.Settings.NumHiddenLayers, model.TiedHead)
            : [.. present.Keys.Select(name => new HubTensor(name, [name]))];
        var imported = new List<NamedTensor>();
        foreach (var tensor in layout)
        {
            var name = HubLayout.Aliases(tensor.Name).FirstOrDefault(present.ContainsKey)
                ?? throw new SoraException($"{file.Path} lacks tensor '{tensor.Name}', which its {HubConfig.FileName} promises.", ExitCode.InvalidInput);
            present.Remove(name, out var entry);
            var whole = TensorFiles.Read(file, entry!);
            if (tensor.Transposed)
                whole = Transpose(whole, name, file);
            if (tensor.Parameters.Count == 1)
            {
                imported.Add(new NamedTensor(tensor.Parameters[0], whole));
                continue;
            }
            if (whole.shape[0] % tensor.Parameters.Count != 0)
                throw new SoraException($"Tensor '{name}' of {file.Path} has shape [{string.Join(", ", entry!.Shape)}], which does not hold {tensor.Parameters.Count} equal parts.", ExitCode.InvalidInput);
            var parts = whole.chunk(tensor.Parameters.Count, 0);
            imported.AddRange(parts.Zip(tensor.Parameters, (part, parameter) => new NamedTensor(parameter, part)));
        }
        if (present.Count > 0)
            throw new SoraException($"{file.Path} holds {string.Join(", ", present.Keys.Take(5))}, for which the network of its {HubConfig.FileName} has no place.", ExitCode.InvalidInput);
        foreach (var tensor in imported)
            tensor.Value.DetachFromDisposeScope();
        return new OwnedTensors(imported);
    }

    private static Tensor Transpose(Tensor tensor, string name, SafetensorsFile file) => tensor.dim() == 2
        ? tensor.t()
        : throw new SoraException($"Tensor '{name}' of {file.Path} has shape [{string.Join(", ", tensor.shape)}]; a matrix was expected.", ExitCode.InvalidInput);
}
