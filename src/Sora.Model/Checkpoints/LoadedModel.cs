using System.Text;
using Sora.Model.Checkpoints.Adapters;
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
    /// <c>config.json</c>, <c>model.safetensors</c> (or several files and their index) and <c>tokenizer.json</c>. Each may hold
    /// adapters in the layout of PEFT instead; the network they belong to is read, too.
    /// </param>
    /// <param name="device"><c>auto</c>, <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</param>
    /// <param name="baseModel">Where the network lies that adapters belong to; null: where it lay when they were trained.</param>
    /// <exception cref="SoraException">There is no model, it is damaged, or adapters belong to another network.</exception>
    public static LoadedModel Load(string path, string device = "auto", string? baseModel = null)
    {
        var (folder, warnings) = ModelFolder.Find(path);
        _ = ModelFolder.ManifestOf(folder);
        var adapters = AdapterFiles.AreIn(folder) ? AdapterConfig.Read(folder) : null;
        var network = adapters is null ? folder : BaseOf(folder, adapters, baseModel);
        var description = HubConfig.Read(network);
        var tokenizer = TokenizerFiles.Load(File.Exists(System.IO.Path.Combine(folder, TokenizerJson.FileName)) ? folder : network);
        if (tokenizer.VocabSize > description.VocabSize)
            throw new SoraException($"The tokenizer in {folder} has {tokenizer.VocabSize} entries but the network only {description.VocabSize}: they do not belong together.", ExitCode.InvalidInput);
        var place = Devices.Resolve(device);

        using var weights = BaseModel.Read(network, adapters is null ? "" : BaseSha256(folder));
        var model = ModelZoo.Create(description.Settings, description.VocabSize, description.MaxPositions, place, lora: adapters?.Lora);
        try
        {
            model.eval();
            model.LoadWeights(weights.Tensors);
            if (adapters is not null)
                LoadAdapters(model, folder);
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

    private static void LoadAdapters(LanguageModel model, string folder)
    {
        using var files = WeightFiles.Open(folder);
        ModelFolder.CheckWeights(folder, files);
        using var weights = TensorFiles.ReadAll(files.Files);
        model.LoadAdapters(weights.Tensors);
    }

    private static string BaseOf(string folder, AdapterConfig adapters, string? given)
    {
        var path = given ?? adapters.BaseModel;
        return path.Length > 0 && Directory.Exists(path)
            ? ModelFolder.Find(path).Folder
            : throw new SoraException($"{folder} holds adapters of the network '{path}', and there is no such folder. Say where it lies now with --base-model.", ExitCode.InvalidInput);
    }

    // Adapters that others made say nothing of it.
    private static string BaseSha256(string folder)
    {
        var job = System.IO.Path.Combine(folder, CheckpointFolder.JobFileName);
        return File.Exists(job) ? JobJson.Parse(File.ReadAllText(job, Encoding.UTF8)).BaseModelSha256 : "";
    }
}
