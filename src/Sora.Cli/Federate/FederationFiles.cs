using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Sora.Federation.Rounds;
using Sora.Model.Checkpoints;
using Sora.Model.Tokenization;
using Sora.Model.Training;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;
using static TorchSharp.torch;

namespace Sora.Cli.Federate;

/// <summary>What a federated run keeps in its output folder.</summary>
internal sealed class FederationFiles(TrainingJob job, string output)
{
    // Some 3.6 MB: below gRPC's limit for a message.
    private const int ChunkParameters = 900_000;

    /// <summary>The output folder.</summary>
    public string Output => output;

    /// <summary>The coordinator's journal, key and list of sites.</summary>
    public string State => Path.Combine(output, "coordinator");

    /// <summary>The sites that are let in.</summary>
    public string Admissions => Path.Combine(State, "sites.json");

    private string Federation => Path.Combine(output, "federation");

    /// <summary>The run of this folder: the one begun here before, if it is of the same job, else a new one with its initial model.</summary>
    /// <exception cref="SoraException">Another job's run was begun here.</exception>
    public FederatedRun Begin(FederationSettings settings)
    {
        Directory.CreateDirectory(State);
        Directory.CreateDirectory(Path.Combine(Federation, "models"));
        var (mark, identity) = (Path.Combine(Federation, "run"), JobHash.Of(job));
        var model = ReadModel(0);
        if (File.Exists(mark) && File.ReadAllLines(mark) is [var name, var jobHash])
        {
            if (jobHash != identity)
                throw new SoraException($"{output} holds the run of another job, or of this one with other settings. Choose another folder with --output, or begin anew with --overwrite.", ExitCode.Usage);
            return Run(name, model ?? throw new SoraException($"{output} has lost the model its run began with. Begin anew with --overwrite.", ExitCode.InvalidInput), settings);
        }
        using var trainer = NewTrainer();
        var initial = new float[trainer.ParameterCount];
        trainer.CopyWeightsTo(initial);
        Replace(ModelPath(0), MemoryMarshal.AsBytes(initial.AsSpan()));
        var run = $"fed-{Guid.NewGuid():N}";
        Replace(mark, System.Text.Encoding.UTF8.GetBytes($"{run}\n{identity}\n"));
        return Run(run, initial, settings);
    }

    /// <summary>A global model; null where there is none.</summary>
    public float[]? ReadModel(int number) => File.Exists(ModelPath(number)) ? MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(ModelPath(number))).ToArray() : null;

    /// <summary>The job's network, at its initial weights.</summary>
    public Trainer NewTrainer()
    {
        var vocabulary = Tokenizer().VocabSize;
        return new Trainer(job, vocabulary, Sora.Model.Native.Devices.Resolve("cpu"), baseWeights: BaseModel.Reader(job));
    }

    /// <summary>The job's tokenizer, which all sites must have.</summary>
    /// <exception cref="SoraException">It would have to be trained on text that nobody has in one place.</exception>
    public ITokenizer Tokenizer() => job.Tokenizer.Type != TokenizerKind.Bpe
        ? TokenizerFiles.Create(job.Tokenizer, () => [])
        : throw new SoraException("A federated job needs a tokenizer that is there before the run: name a base_model, or set tokenizer to byte, o200k, cl100k or a file.", ExitCode.Usage);

    /// <summary>Writes reports down as they come.</summary>
    public FederationHistory OpenHistory() => new(Path.Combine(output, "rounds.jsonl"));

    private static FederatedRun Run(string name, float[] initial, long seed, FederationSettings settings) => new(
        name, seed, new ModelVersion(0, Convert.ToHexStringLower(SHA256.HashData(MemoryMarshal.AsBytes(initial.AsSpan())))),
        new ChunkLayout(initial.Length, Math.Min(ChunkParameters, initial.Length)), settings);

    private FederatedRun Run(string name, float[] initial, FederationSettings settings) => Run(name, initial, job.Seed, settings);

    private string ModelPath(int number) => Path.Combine(Federation, "models", $"{number}.f32");

    private static void Replace(string path, ReadOnlySpan<byte> content)
    {
        var temporary = path + ".new";
        using (var file = File.Create(temporary))
        {
            file.Write(content);
            file.Flush(flushToDisk: true);
        }
        File.Move(temporary, path, overwrite: true);
    }
}

/// <summary>The reports of a federated run, a JSON line each. One that is told again after a restart is written again.</summary>
internal sealed class FederationHistory(string path) : IDisposable
{
    private readonly StreamWriter _file = new(path, append: true) { AutoFlush = true };

    /// <summary>Writes a report.</summary>
    public void Add(RunEvent report) => _file.WriteLine(RoundReportJson.Write(report));

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();
}
