using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Sora.Model.Checkpoints.Adapters;
using Sora.Model.Training;

namespace Sora.Model.Checkpoints;

/// <summary>A file of tensors that a checkpoint is to have.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Bytes">What its tensors take.</param>
/// <param name="Tensors">What it holds, and what that is made of.</param>
internal sealed record TensorFile(string Name, long Bytes, IReadOnlyList<HubTensor> Tensors);

/// <summary>
/// Which files hold a checkpoint's tensors: a pure function of the job and the state's shapes. Who writes them, and how many
/// do, changes nothing.
/// </summary>
internal sealed class CheckpointLayout
{
    // The optimizer's state is for ourselves, so it is cut for those who write it: this many files are shared evenly by 2, 3, 4 or 6.
    private const int OptimizerFiles = 12;
    private const long WorthAFile = 4 << 20;

    private static readonly JsonSerializerOptions _json = new() { WriteIndented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private CheckpointLayout(IReadOnlyList<TensorFile> weights, IReadOnlyList<TensorFile> optimizer) => (Weights, Optimizer) = (weights, optimizer);

    /// <summary>Files of the weights.</summary>
    public IReadOnlyList<TensorFile> Weights { get; }

    /// <summary>Files of the optimizer's state.</summary>
    public IReadOnlyList<TensorFile> Optimizer { get; }

    /// <summary>The layout of a state.</summary>
    /// <param name="model">The network.</param>
    /// <param name="weights">All of them; only names and shapes are looked at.</param>
    /// <param name="optimizer">All its tensors; as above.</param>
    /// <param name="maxShardSize">Bytes of tensors in a file, at most; a tensor larger than that has a file of its own.</param>
    public static CheckpointLayout Of(ModelDescription model, IReadOnlyList<NamedTensor> weights, IReadOnlyList<NamedTensor> optimizer, long maxShardSize)
    {
        var adapters = AdapterFiles.AreNamed([.. weights.Select(tensor => tensor.Name)]);
        var sizes = weights.Concat(optimizer).ToDictionary(tensor => tensor.Name, tensor => tensor.Value.numel() * tensor.Value.element_size(), StringComparer.Ordinal);
        var state = optimizer.Select(tensor => new HubTensor(tensor.Name, [tensor.Name])).ToList();
        var optimizerLimit = Math.Max(WorthAFile, state.Sum(BytesOf) / OptimizerFiles);
        return new CheckpointLayout(
            Split(HubWeights.LayoutOf(model, weights.Select(tensor => tensor.Name)), adapters ? AdapterFiles.WeightsFileName : HubWeights.FileName, adapters ? long.MaxValue : maxShardSize, BytesOf), // PEFT reads one file
            Split(state, CheckpointFolder.OptimizerFileName, Math.Min(maxShardSize, optimizerLimit), BytesOf));

        long BytesOf(HubTensor tensor) => tensor.Parameters.Sum(name => sizes.TryGetValue(name, out var bytes)
            ? bytes
            : throw new ArgumentException($"The model has no parameter '{name}', which tensor '{tensor.Name}' is made of.", nameof(weights)));
    }

    /// <summary>The indexes of what is in several files, as Hugging Face's libraries write them.</summary>
    public IEnumerable<(string Name, byte[] Utf8)> Indexes()
    {
        foreach (var (files, name) in new[] { (Weights, HubWeights.FileName), (Optimizer, CheckpointFolder.OptimizerFileName) })
            if (files.Count > 1)
                yield return (WeightFiles.IndexNameOf(name), IndexOf(files));
    }

    // In their order, each file filled as far as the next tensor fits.
    private static List<TensorFile> Split(IReadOnlyList<HubTensor> tensors, string name, long limit, Func<HubTensor, long> bytesOf)
    {
        var files = new List<(List<HubTensor> Tensors, long Bytes)> { ([], 0) };
        foreach (var tensor in tensors)
        {
            var bytes = bytesOf(tensor);
            if (files[^1].Tensors.Count > 0 && files[^1].Bytes + bytes > limit)
                files.Add(([], 0));
            files[^1].Tensors.Add(tensor);
            files[^1] = files[^1] with { Bytes = files[^1].Bytes + bytes };
        }
        return [.. files.Select((file, index) => new TensorFile(NameOf(name, index, files.Count), file.Bytes, file.Tensors))];
    }

    private static string NameOf(string name, int index, int count) => count == 1
        ? name
        : string.Create(CultureInfo.InvariantCulture, $"{Path.GetFileNameWithoutExtension(name)}-{index + 1:D5}-of-{count:D5}{Path.GetExtension(name)}");

    private static byte[] IndexOf(IReadOnlyList<TensorFile> files)
    {
        var map = files.SelectMany(file => file.Tensors, (file, tensor) => KeyValuePair.Create(tensor.Name, (JsonNode?)file.Name)).OrderBy(pair => pair.Key, StringComparer.Ordinal);
        var index = new JsonObject { ["metadata"] = new JsonObject { ["total_size"] = files.Sum(file => file.Bytes) }, ["weight_map"] = new JsonObject(map) };
        return [.. JsonSerializer.SerializeToUtf8Bytes(index, _json), (byte)'\n'];
    }
}
