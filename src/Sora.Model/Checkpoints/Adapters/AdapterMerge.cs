using System.Text;
using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints.Adapters;

/// <summary>Makes one network out of another and its adapters.</summary>
public static class AdapterMerge
{
    /// <summary>Writes the network that base and adapters together are, as a checkpoint of the same step. It has no optimizer state: train on from it with <c>base_model</c>.</summary>
    /// <param name="adapter">A checkpoint of adapters, or the output folder of a run that has one.</param>
    /// <param name="outputDir">Where the checkpoint goes; it must hold none.</param>
    /// <param name="baseModel">Where the base lies now; null: where it lay.</param>
    /// <exception cref="SoraException">There are no adapters, the base is not theirs, or it cannot be written.</exception>
    public static CheckpointInfo Merge(string adapter, string outputDir, string? baseModel = null)
    {
        if (CheckpointCatalog.List(outputDir).Count > 0)
            throw new SoraException($"{outputDir} holds checkpoints already; a merged one would mix with them. Choose another folder.", ExitCode.Usage);
        using var loaded = LoadedModel.Load(adapter, "cpu", baseModel);
        if (!AdapterFiles.AreIn(loaded.Path))
            throw new SoraException($"{loaded.Path} holds a whole network and no adapters: there is nothing to merge.", ExitCode.InvalidInput);
        if (loaded.Tokenizer.VocabSize != loaded.Description.VocabSize)
            throw new SoraException($"The tokenizer in {loaded.Path} has {loaded.Tokenizer.VocabSize} entries and the network {loaded.Description.VocabSize}; such a network cannot be written.", ExitCode.InvalidInput);
        loaded.Model.MergeAdapters();
        var weights = loaded.Model.NamedWeights();
        try
        {
            return CheckpointFolder.Save(Contents(loaded, outputDir) with { Weights = weights }, saveTotalLimit: 0);
        }
        finally
        {
            foreach (var view in weights)
                view.Value.Dispose();
        }
    }

    private static CheckpointContents Contents(LoadedModel loaded, string outputDir)
    {
        var manifest = ModelFolder.ManifestOf(loaded.Path);
        var jobFile = Path.Combine(loaded.Path, CheckpointFolder.JobFileName);
        var job = File.Exists(jobFile) ? JobJson.Parse(File.ReadAllText(jobFile, Encoding.UTF8)) : new TrainingJob { ContextLength = loaded.Description.MaxPositions };
        return new CheckpointContents
        {
            OutputDir = outputDir,
            Step = manifest?.Step ?? 0,
            TokensSeen = manifest?.TokensSeen ?? 0,
            Job = job with
            {
                Model = loaded.Description.Settings with { MaxPositionEmbeddings = loaded.Description.MaxPositions },
                Lora = new LoraSettings(),
                BaseModel = "",
                BaseModelSha256 = "",
            },
            CorpusSha256 = manifest?.CorpusSha256 ?? "",
            Tokenizer = loaded.Tokenizer,
            Canary = "",
            Numerics = manifest is null ? "merged" : $"merged from {manifest.WeightsSha256}; {manifest.Numerics}",
            Weights = [],
            Optimizer = [],
        };
    }
}
