using Sora.Model.Data;
using Sora.Protocol.Blocks;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Worker.Work;

namespace Sora.Worker.Tests.Work;

/// <summary>A prepared corpus of some thousand bytes, a job that trains on it in no time, and a coordinator's side that gives it out.</summary>
public sealed class SmallCorpus : IAsyncLifetime
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sora-");

    public PreparedCorpus Corpus { get; private set; } = null!;

    internal TrainingJob Job { get; private set; } = null!;

    public string Folder => _folder.FullName;

    internal WorkerAssignment Assignment(string corpusDir = "", string output = "out", TrainingJob? job = null) => new(
        "run", JobJson.Write(job ?? Job), Corpus.Hash, corpusDir, Path.Combine(Folder, output));

    internal WorkerOptions Options(string cache = "cache") => new() { Coordinators = [new Uri("http://localhost:1")], Token = "", CacheDir = Path.Combine(Folder, cache) };

    internal RunWork Work() => new(Options(), new AssignedCorpus(Options(), new GivenOut(Corpus), Folder));

    public async ValueTask InitializeAsync()
    {
        var text = Path.Combine(Folder, "text.txt");
        await File.WriteAllLinesAsync(text, Enumerable.Range(0, 400).Select(i => $"Line {i * i % 97} says that {i} is followed by {i + 1}."));
        Job = new TrainingJob
        {
            Data = new DataSettings { Train = [text], CacheDir = Path.Combine(Folder, "corpora"), ValidationSplit = 0 },
            Tokenizer = new TokenizerSettings { Type = TokenizerKind.Byte },
            Model = new ModelSettings { HiddenSize = 16, NumHiddenLayers = 1, NumAttentionHeads = 2, Dropout = 0.1 },
            ContextLength = 16,
            MicroBatchSize = 2,
            Lanes = 3,
            MaxSteps = 4,
            Device = "cpu",
        };
        Corpus = await CorpusCache.GetAsync(Job.Data, Job.Tokenizer);
    }

    public ValueTask DisposeAsync()
    {
        Corpus.Dispose();
        _folder.Delete(recursive: true);
        return ValueTask.CompletedTask;
    }

    /// <summary>The coordinator's side, without a network between.</summary>
    internal sealed class GivenOut(PreparedCorpus corpus) : ICorpusSource, IPieceFetcher
    {
        private readonly CorpusPieces _pieces = new(corpus);

        /// <summary>Set: what is given out is changed by it.</summary>
        public Func<byte[], byte[]> Damage { get; init; } = bytes => bytes;

        public ReadOnlyMemory<byte> Manifest(string corpusHash, CancellationToken cancellationToken) => Damage(_pieces.Manifest.ToArray());

        public IPieceFetcher Pieces(string corpusHash) => this;

        public async IAsyncEnumerable<(string Sha256, ReadOnlyMemory<byte> Content)> FetchAsync(
            IReadOnlyList<string> sha256, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
        {
            foreach (var hash in sha256)
                yield return (hash, (await _pieces.ReadAsync(hash, cancellationToken))!.Value);
        }
    }
}
