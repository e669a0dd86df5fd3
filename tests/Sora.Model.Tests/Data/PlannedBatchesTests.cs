using Sora.Model.Data;
using Sora.Protocol.Blocks;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Data;

public class PlannedBatchesTests
{
    private static readonly TrainingJob Job = new() { ContextLength = 32, Lanes = 3, MicroBatchSize = 4, MicroBatchesPerLane = 2 };

    private static async Task<PreparedCorpus> CorpusAsync(TestFolder folder, int numbers = 60_000)
    {
        var lines = Enumerable.Range(0, numbers).Chunk(100).Select(chunk => $"{{\"text\":\"{string.Join(' ', chunk)}\"}}\n");
        var input = folder.File("in.jsonl", string.Concat(lines));
        return await TestCorpus.PrepareAsync(TestCorpus.Data(folder, input) with { ValidationSplit = 0.05 }, folder["corpus"], shardTokens: 150_000);
    }

    [Fact]
    public async Task Read_LocalAndRemote_GiveThePlannedTokens()
    {
        using var folder = new TestFolder();
        var corpus = await CorpusAsync(folder);
        var fetcher = new FolderFetcher(corpus);
        using var remote = BatchSources.Remote(corpus.ManifestBytes, Job, fetcher, folder["pieces"]);
        using var local = BatchSources.Local(corpus, Job);

        var (expected, here, there) = (new int[33], new int[4 * 33], new int[4 * 33]);
        for (var step = 0; step < 6; step++)
        {
            remote.Announce(step, new LaneRange(0, 3));
            for (var lane = 0; lane < 3; lane++)
                for (var micro = 0; micro < 2; micro++)
                {
                    local.Read(step, lane, micro, here);
                    remote.Read(step, lane, micro, there);
                    Assert.Equal(here, there);
                    var sample = local.Plan.Sample(step, lane, micro, 3);
                    corpus.ReadTrain(sample.Shard, sample.Token, expected);
                    Assert.Equal(expected, here[(3 * 33)..]);
                }
        }
        Assert.Equal(0, local.WaitSeconds);
    }

    [Fact]
    public async Task ReadValidation_AllBatches_CoverTheHeldOutTokensInOrderAndPadTheRest()
    {
        using var folder = new TestFolder();
        var corpus = await CorpusAsync(folder);
        using var local = BatchSources.Local(corpus, Job);
        using var remote = BatchSources.Remote(corpus.ManifestBytes, Job, new FolderFetcher(corpus), folder["pieces"]);
        var all = new int[corpus.Manifest.Validation.Tokens];
        corpus.ReadValidation(0, 0, all);

        var rows = new List<int[]>();
        var (here, there) = (new int[4 * 33], new int[4 * 33]);
        for (var index = 0L; index < local.ValidationBatches; index++)
        {
            local.ReadValidation(index, here);
            remote.ReadValidation(index, there);
            Assert.Equal(here, there);
            rows.AddRange(here.Chunk(33));
        }

        var whole = (int)local.ValidationSamples;
        Assert.Equal((all.Length - 1) / 32, whole);
        Assert.Equal(0, rows.Count % 4);
        Assert.All(rows.Take(whole).Index(), row => Assert.Equal(all[(row.Index * 32)..(row.Index * 32 + 33)], row.Item));
        Assert.All(rows.Skip(whole), row => Assert.All(row, token => Assert.Equal(-1, token)));
        Assert.Equal((double)corpus.Manifest.Validation.TextBytes / all.Length, local.ValidationBytesPerToken);
    }

    [Fact]
    public async Task Remote_ALanesWorker_FetchesEachPieceOfItsBlocksOnce()
    {
        using var folder = new TestFolder();
        var corpus = await CorpusAsync(folder);
        var fetcher = new FolderFetcher(corpus);
        using var remote = BatchSources.Remote(corpus.ManifestBytes, Job, fetcher, folder["pieces"]);
        var tokens = new int[4 * 33];
        for (var step = 0; step < remote.Plan.StepsPerEpoch; step++) remote.Read(step, 1, 0, tokens);

        Assert.Equal(fetcher.Asked.Count, fetcher.Asked.Distinct().Count());
        Assert.Subset(LanePieces(corpus, remote.Plan, lane: 1), fetcher.Asked.ToHashSet());
        Assert.True(remote.WaitSeconds > 0);
        corpus.Dispose();
    }

    [Fact]
    public async Task Remote_NextProcess_ReadsTheCacheOfTheFirst()
    {
        using var folder = new TestFolder();
        using var corpus = await CorpusAsync(folder);
        var tokens = new int[4 * 33];
        using (var first = BatchSources.Remote(corpus.ManifestBytes, Job, new FolderFetcher(corpus), folder["pieces"]))
            first.Read(0, 0, 0, tokens);

        var fetcher = new FolderFetcher(corpus);
        using var second = BatchSources.Remote(corpus.ManifestBytes, Job, fetcher, folder["pieces"]);
        var again = new int[4 * 33];
        second.Read(0, 0, 0, again);
        Assert.Equal(tokens, again);
        Assert.Empty(fetcher.Asked);
    }

    [Fact]
    public async Task FetchTokenizer_WorkerWithoutTheCorpus_GetsTheSameTokenizer()
    {
        using var folder = new TestFolder();
        using var corpus = await CorpusAsync(folder, 1000);
        var fetcher = new FolderFetcher(corpus);
        var tokenizer = await VerifiedPieces.FetchTokenizerAsync(corpus.ManifestBytes, fetcher, folder["tokenizer"], TestContext.Current.CancellationToken);
        Assert.Equal((corpus.Manifest.Tokenizer.Kind, corpus.Manifest.Tokenizer.VocabSize), (tokenizer.Kind, tokenizer.VocabSize));
        Assert.All(corpus.Manifest.Tokenizer.Files, file => Assert.Equal(File.ReadAllBytes(Path.Combine(corpus.Folder, file.Name)), File.ReadAllBytes(Path.Combine(folder["tokenizer"], file.Name))));
    }

    [Fact]
    public async Task Read_SpanOfAnotherSize_Throws()
    {
        using var folder = new TestFolder();
        using var local = BatchSources.Local(await CorpusAsync(folder, 5000), Job);
        Assert.Throws<ArgumentException>(() => local.Read(0, 0, 0, new int[5]));
    }

    private static HashSet<string> LanePieces(PreparedCorpus corpus, DataPlan plan, int lane) =>
    [
        .. plan.LaneBlocks(0, lane).SelectMany(block =>
        {
            var (first, last) = (block.FirstToken * 2, ((block.FirstToken + block.TokenCount) * 2) - 1);
            var pieces = corpus.Manifest.Train.Shards[block.Shard].File.Pieces;
            return Enumerable.Range((int)(first / corpus.Manifest.PieceBytes), (int)((last / corpus.Manifest.PieceBytes) - (first / corpus.Manifest.PieceBytes)) + 1)
                .Select(piece => pieces[piece]);
        }),
    ];
}

/// <summary>Fetches straight from a corpus folder, remembers what it was asked for, and may harm what it gives.</summary>
internal sealed class FolderFetcher(PreparedCorpus corpus) : IPieceFetcher
{
    private readonly CorpusPieces _pieces = new(corpus);
    private readonly Lock _lock = new();
    private readonly List<string> _asked = [];

    public Func<string, ReadOnlyMemory<byte>, ReadOnlyMemory<byte>?> Deliver { get; init; } = (_, content) => content;

    public IReadOnlyList<string> Asked
    {
        get
        {
            lock (_lock) return [.. _asked];
        }
    }

    public async IAsyncEnumerable<(string Sha256, ReadOnlyMemory<byte> Content)> FetchAsync(
        IReadOnlyList<string> sha256, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        foreach (var piece in sha256)
        {
            lock (_lock) _asked.Add(piece);
            if (Deliver(piece, (await _pieces.ReadAsync(piece, cancellationToken))!.Value) is { } content) yield return (piece, content);
        }
    }
}
