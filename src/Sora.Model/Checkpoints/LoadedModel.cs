using Sora.Model.Native;
using Sora.Model.Tokenization;
using Sora.Model.Zoo;
using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Checkpoints;

/// <summary>A trained network with its tokenizer, ready to generate or evaluate.</summary>
public sealed class LoadedModel : IDisposable
{
    private LoadedModel(string path, ModelDescription description, LanguageModel model, ITokenizer tokenizer, Device device, IReadOnlyList<string> warnings) =>
        (Path, Description, Model, Tokenizer, Device, Warnings) = (path, description, model, tokenizer, device, warnings);

    /// <summary>The folder it was read from.</summary>
    public string Path { get; }

    /// <summary>What it is.</summary>
    public ModelDescription Description { get; }

    /// <summary>The network, in evaluation mode.</summary>
    public LanguageModel Model { get; }

    /// <summary>Its tokenizer.</summary>
    public ITokenizer Tokenizer { get; }

    /// <summary>Where the network lives.</summary>
    public Device Device { get; }

    /// <summary>Damaged checkpoints that were passed over; to be shown.</summary>
    public IReadOnlyList<string> Warnings { get; }

    /// <summary>Reads a model.</summary>
    /// <param name="path">
    /// A checkpoint; a run's output folder (its newest sound checkpoint is read); or a folder in the layout of Hugging Face, with
    /// <c>config.json</c>, <c>model.safetensors</c> (or several files and their index) and <c>tokenizer.json</c>.
    /// </param>
    /// <param name="device"><c>auto</c>, <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</param>
    /// <exception cref="SoraException">There is no model, or it is damaged.</exception>
    public static LoadedModel Load(string path, string device = "auto")
    {
        var (folder, warnings) = Find(path);
        var manifest = File.Exists(System.IO.Path.Combine(folder, CheckpointManifest.FileName)) ? CheckpointFolder.Open(folder).Manifest : null;
        var description = HubConfig.Read(folder);
        var tokenizer = TokenizerFiles.Load(folder);
        if (tokenizer.VocabSize > description.VocabSize)
            throw new SoraException($"The tokenizer in {folder} has {tokenizer.VocabSize} entries but the network only {description.VocabSize}: they do not belong together.", ExitCode.InvalidInput);
        var place = Devices.Resolve(device);

        using var files = WeightFiles.Open(folder);
        if (manifest is not null && WeightsHash.Of(files.Files) != manifest.WeightsSha256)
            throw new SoraException($"{folder} is damaged: its weights are not the ones the manifest names. 'sora checkpoint verify {folder}' tells more; use another checkpoint.", ExitCode.InvalidInput);
        using var weights = HubWeights.Import(description, files.Files);
        var model = ModelZoo.Create(description.Settings, description.VocabSize, description.MaxPositions, place);
        try
        {
            model.eval();
            model.LoadWeights(weights.Tensors);
            return new LoadedModel(folder, description, model, tokenizer, place, warnings);
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Model.Dispose();

    private static (string Folder, IReadOnlyList<string> Warnings) Find(string path)
    {
        var folder = System.IO.Path.GetFullPath(path);
        if (File.Exists(System.IO.Path.Combine(folder, HubConfig.FileName)))
            return (folder, []);
        if (CheckpointCatalog.List(folder).Count == 0)
            throw new SoraException($"No model at {folder}: it is neither a checkpoint (it has no {HubConfig.FileName}) nor the output folder of a run that has one.", ExitCode.InvalidInput);
        var newest = CheckpointCatalog.NewestSound(folder);
        return (newest.Path!, newest.Warnings);
    }
}
