using System.Text;
using Sora.Model.Checkpoints.Adapters;
using Sora.Model.Tokenization;
using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints;

/// <summary>A whole checkpoint, opened by <see cref="CheckpointFolder.Open"/>. Holds no file open.</summary>
public sealed class CheckpointReader
{
    private readonly Lazy<TrainingJob> _job;
    private readonly Lazy<ModelDescription> _model;

    internal CheckpointReader(string path, CheckpointManifest manifest)
    {
        (Path, Manifest) = (path, manifest);
        _job = new Lazy<TrainingJob>(() => JobJson.Parse(File.ReadAllText(System.IO.Path.Combine(path, CheckpointFolder.JobFileName), Encoding.UTF8)));
        _model = new Lazy<ModelDescription>(() => HubConfig.Read(path));
    }

    /// <summary>Its folder.</summary>
    public string Path { get; }

    /// <summary>What it says of itself.</summary>
    public CheckpointManifest Manifest { get; }

    /// <summary>The job that made it.</summary>
    public TrainingJob Job => _job.Value;

    /// <summary>Whether it holds adapters, and not the network they belong to.</summary>
    public bool HoldsAdapters => AdapterFiles.AreIn(Path);

    /// <summary>The network; not to be asked of adapters.</summary>
    public ModelDescription Model => _model.Value;

    /// <summary>Identity of the weights; see <see cref="Checkpoints.WeightsHash"/>.</summary>
    public string WeightsHash => Manifest.WeightsSha256;

    /// <summary>The weights in host memory, under the model's names.</summary>
    /// <exception cref="SoraException">A file is damaged.</exception>
    public OwnedTensors ReadWeights()
    {
        using var files = WeightFiles.Open(Path);
        return HoldsAdapters ? TensorFiles.ReadAll(files.Files) : HubWeights.Import(Model, files.Files);
    }

    /// <summary>The optimizer's state in host memory, under the names it was saved with.</summary>
    /// <exception cref="SoraException">A file is damaged.</exception>
    public OwnedTensors ReadOptimizer()
    {
        using var files = WeightFiles.Open(Path, CheckpointFolder.OptimizerFileName);
        return TensorFiles.ReadAll(files.Files);
    }

    /// <summary>The tokenizer.</summary>
    /// <exception cref="SoraException">Its files are damaged.</exception>
    public ITokenizer ReadTokenizer() => TokenizerFiles.Load(Path);

    /// <summary>Checks that a job can go on from here.</summary>
    /// <param name="job">The job.</param>
    /// <param name="vocabSize">Entries of its vocabulary.</param>
    /// <param name="corpusSha256">Hash that names its corpus.</param>
    /// <returns>Other keys that decide the weights and differ: the run goes on, but its result is not that of an undisturbed one. To be shown.</returns>
    /// <exception cref="CheckpointMismatchException">Network, vocabulary or corpus are not those of the checkpoint.</exception>
    public IReadOnlyList<string> CheckMatches(TrainingJob job, int vocabSize, string corpusSha256) =>
        CheckpointMatch.Check(this, job, vocabSize, corpusSha256);
}
