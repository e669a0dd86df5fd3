using Sora.Model.Data;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Data;

public class CorpusCacheTests
{
    private static Task<PreparedCorpus> GetAsync(DataSettings data, TokenizerSettings? tokenizer = null, IProgress<PrepareProgress>? progress = null) =>
        CorpusCache.GetAsync(data, tokenizer ?? TestCorpus.Bytes, progress, cancellationToken: TestContext.Current.CancellationToken);

    [Fact]
    public async Task Get_SameInputs_PreparesOnce()
    {
        using var folder = new TestFolder();
        var data = TestCorpus.Data(folder, folder.File("a.txt", "some text"));
        using var first = await GetAsync(data);
        var phases = new Phases();
        using var second = await GetAsync(data, progress: phases);
        Assert.Equal(first.Folder, second.Folder);
        Assert.DoesNotContain(PreparePhase.Encoding, phases.Seen);
    }

    [Fact]
    public async Task Get_AnythingThatMattersDiffers_PreparesAnother()
    {
        using var folder = new TestFolder();
        var file = folder.File("a.txt", "some text");
        var data = TestCorpus.Data(folder, file);
        var folders = new List<string>();
        foreach (var settings in new[] { data, data with { ValidationSplit = 0.5 }, data with { TextField = "body" } })
            folders.Add((await OpenAndCloseAsync(settings)).Folder);
        File.SetLastWriteTimeUtc(file, DateTime.UnixEpoch);
        folders.Add((await OpenAndCloseAsync(data)).Folder);
        Assert.Equal(4, folders.Distinct().Count());

        static async Task<PreparedCorpus> OpenAndCloseAsync(DataSettings settings)
        {
            using var corpus = await GetAsync(settings);
            return corpus;
        }
    }

    [Fact]
    public async Task Get_SeveralAtOnce_OnePreparesAndAllRead()
    {
        using var folder = new TestFolder();
        var data = TestCorpus.Data(folder, folder.File("a.txt", string.Join(' ', Enumerable.Range(0, 20_000))));
        var phases = Enumerable.Range(0, 4).Select(_ => new Phases()).ToList();
        var corpora = await Task.WhenAll(phases.Select(seen => GetAsync(data, progress: seen)));
        Assert.Single(corpora.Select(corpus => corpus.Hash).Distinct());
        Assert.Single(phases, seen => seen.Seen.Contains(PreparePhase.Encoding));
        foreach (var corpus in corpora) corpus.Dispose();
    }

    [Fact]
    public async Task Get_DamagedEntry_IsPreparedAgainAndSaysSo()
    {
        using var folder = new TestFolder();
        var data = TestCorpus.Data(folder, folder.File("a.txt", "some text"));
        string path;
        using (var first = await GetAsync(data)) path = first.Folder;
        File.Delete(Path.Combine(path, "train-00000.bin"));
        Directory.CreateDirectory(path + ".preparing-killed");

        var phases = new Phases();
        using var again = await GetAsync(data, progress: phases);
        Assert.Equal(["some text"], TestCorpus.TrainDocuments(again));
        Assert.Contains(phases.Messages, message => message.Contains("train-00000.bin is missing"));
        Assert.False(Directory.Exists(path + ".preparing-killed"));
    }

    [Fact]
    public async Task Get_PreparedFolder_IsUsedAsItIs()
    {
        using var folder = new TestFolder();
        using var prepared = await TestCorpus.PrepareAsync(TestCorpus.Data(folder, folder.File("a.txt", "text")), folder["corpus"]);
        using var corpus = await GetAsync(TestCorpus.Data(folder, folder["corpus"]), new() { Type = TokenizerKind.Cl100k });
        Assert.Equal(prepared.Hash, corpus.Hash);
        Assert.Equal(prepared.Folder, corpus.Folder);
        var mixed = await Assert.ThrowsAsync<SoraException>(() => GetAsync(TestCorpus.Data(folder, folder["corpus"], folder["a.txt"])));
        Assert.Contains("is a corpus that is prepared already", mixed.Message);
    }

    [Fact]
    public async Task Get_CacheFolderThatCannotBe_SaysSo()
    {
        using var folder = new TestFolder();
        var file = folder.File("a.txt", "text");
        var error = await Assert.ThrowsAsync<SoraException>(() => GetAsync(TestCorpus.Data(folder, file) with { CacheDir = Path.Combine(file, "cache") }));
        Assert.Contains("a.txt", error.Message);
    }

    private sealed class Phases : IProgress<PrepareProgress>
    {
        private readonly List<PrepareProgress> _reports = [];

        public IEnumerable<PreparePhase> Seen
        {
            get
            {
                lock (_reports) return [.. _reports.Select(report => report.Phase)];
            }
        }

        public IEnumerable<string> Messages
        {
            get
            {
                lock (_reports) return [.. _reports.Select(report => report.Message).OfType<string>()];
            }
        }

        public void Report(PrepareProgress value)
        {
            lock (_reports) _reports.Add(value);
        }
    }
}
