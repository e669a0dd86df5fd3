using System.Text;
using Sora.Model.Checkpoints.Adapters;
using Sora.Model.Tokenization;
using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints;

/// <summary>The trained network a job begins with (<c>base_model</c>).</summary>
public static class BaseModel
{
    // What the network was trained with and is free to be trained with now.
    private static readonly string[] _free = ["model.dropout", "model.initializer_range"];

    /// <summary>
    /// Fills in what a job takes from its base: the network's shape, the tokenizer where the job names none, the checkpoint meant by
    /// an output folder, and the identity of the weights.
    /// </summary>
    /// <exception cref="SoraException">There is no such network, or the job contradicts it.</exception>
    public static LoadedJob Complete(LoadedJob loaded)
    {
        var job = loaded.Job;
        if (job.BaseModel.Length == 0)
            return loaded;
        var (folder, warnings) = ModelFolder.Find(job.BaseModel);
        if (AdapterFiles.AreIn(folder))
            throw new SoraException($"base_model {folder} holds adapters and no network. Merge them first: sora checkpoint merge {folder} --output DIR.", ExitCode.InvalidInput);
        var description = HubConfig.Read(folder);
        var completed = job with
        {
            BaseModel = folder,
            BaseModelSha256 = Identity(folder, job.BaseModelSha256),
            Model = Network(loaded, description),
            Tokenizer = loaded.Origins.Keys.Any(key => key.StartsWith("tokenizer.", StringComparison.Ordinal)) ? job.Tokenizer : TokenizerOf(folder),
        };
        var errors = JobValidation.Check(completed, loaded.Origins);
        return errors.Count == 0 ? loaded with { Job = completed, Warnings = [.. loaded.Warnings, .. warnings] } : throw new JobErrors(errors);
    }

    /// <summary>Reads the weights of a job's base into host memory; null where it has none.</summary>
    /// <returns>To be called whenever they are needed. It throws where they are not the ones the job was submitted with.</returns>
    public static Func<OwnedTensors>? Reader(TrainingJob job) => job.BaseModel.Length == 0 ? null : () => Read(job.BaseModel, job.BaseModelSha256);

    /// <summary>Reads the weights of a network into host memory.</summary>
    /// <param name="folder">Where it lies.</param>
    /// <param name="sha256">The identity they must have; empty: any.</param>
    /// <exception cref="SoraException">They are damaged, or others.</exception>
    internal static OwnedTensors Read(string folder, string sha256)
    {
        if (AdapterFiles.AreIn(folder) || !File.Exists(Path.Combine(folder, HubConfig.FileName)))
            throw new SoraException($"There is no network at {folder}, which is to be the base (base_model). Whoever trains or uses the run must be able to read it there.", ExitCode.InvalidInput);
        using var files = WeightFiles.Open(folder);
        ModelFolder.CheckWeights(folder, files, sha256);
        return HubWeights.Import(HubConfig.Read(folder), files.Files);
    }

    private static string Identity(string folder, string expected)
    {
        using var files = WeightFiles.Open(folder);
        return ModelFolder.WeightsSha256(folder, files, expected);
    }

    private static ModelSettings Network(LoadedJob loaded, ModelDescription description)
    {
        var ours = loaded.Job with { Model = description.Settings with { MaxPositionEmbeddings = description.MaxPositions } };
        foreach (var difference in JobDifference.Between(ours, loaded.Job).Where(one => one.Key.Path.StartsWith("model.", StringComparison.Ordinal)))
        {
            if (!loaded.Origins.TryGetValue(difference.Key.Path, out var origin) || _free.Contains(difference.Key.Path))
                continue;
            throw new SoraException($"{origin}: {difference.Key.Path} is {difference.After}, but that of base_model is {difference.Before}. Leave the key out: the network's shape comes from its files.", ExitCode.Usage);
        }
        return ours.Model with
        {
            Dropout = loaded.Origins.ContainsKey("model.dropout") ? loaded.Job.Model.Dropout : ours.Model.Dropout,
            InitializerRange = loaded.Origins.ContainsKey("model.initializer_range") ? loaded.Job.Model.InitializerRange : ours.Model.InitializerRange,
        };
    }

    // The files of a checkpoint hold any tokenizer, but one that needs no file is best named.
    private static TokenizerSettings TokenizerOf(string folder)
    {
        var job = Path.Combine(folder, CheckpointFolder.JobFileName);
        var type = File.Exists(job) ? JobJson.Parse(File.ReadAllText(job, Encoding.UTF8)).Tokenizer.Type : TokenizerKind.File;
        if (type is TokenizerKind.Byte or TokenizerKind.O200k or TokenizerKind.Cl100k)
            return new TokenizerSettings { Type = type };
        _ = TokenizerFiles.Load(folder);
        return new TokenizerSettings { Type = TokenizerKind.File, Path = folder };
    }
}
