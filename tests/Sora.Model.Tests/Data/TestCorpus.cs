using Sora.Model.Data;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Data;

/// <summary>A folder that goes away with the test, and short ways to fill it.</summary>
internal sealed class TestFolder : IDisposable
{
    public TestFolder() => Path = Directory.CreateTempSubdirectory("sora-test-").FullName;

    public string Path { get; }

    public string File(string name, string content) => File(name, System.Text.Encoding.UTF8.GetBytes(content));

    public string File(string name, byte[] content)
    {
        var path = this[name];
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path)!);
        System.IO.File.WriteAllBytes(path, content);
        return path;
    }

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}

internal static class TestCorpus
{
    public static readonly TokenizerSettings Bytes = new() { Type = TokenizerKind.Byte };

    public static DataSettings Data(TestFolder folder, params string[] sources) =>
        new() { Train = sources, CacheDir = folder["cache"], ValidationSplit = 0 };

    public static Task<PreparedCorpus> PrepareAsync(DataSettings data, string folder, int threads = 2, long shardTokens = 1 << 27) =>
        new CorpusPreparer { Threads = threads, ShardTokens = shardTokens }
            .PrepareAsync(data, Bytes, folder, cancellationToken: TestContext.Current.CancellationToken);

    /// <summary>The documents of the training part (byte tokenizer).</summary>
    public static List<string> TrainDocuments(PreparedCorpus corpus) => Documents(corpus, corpus.Manifest.Train, corpus.ReadTrain);

    public static List<string> ValidationDocuments(PreparedCorpus corpus) => Documents(corpus, corpus.Manifest.Validation, corpus.ReadValidation);

    private delegate void ReadTokens(int shard, long offset, Span<int> tokens);

    private static List<string> Documents(PreparedCorpus corpus, ManifestSplit split, ReadTokens read)
    {
        var documents = new List<string>();
        for (var shard = 0; shard < split.Shards.Count; shard++)
        {
            var index = System.IO.File.ReadAllBytes(Path.Combine(corpus.Folder, split.Shards[shard].Index.Name));
            var start = 0L;
            for (var i = 0; i < index.Length; i += 8)
            {
                var end = (long)BitConverter.ToUInt64(index, i);
                var tokens = new int[end - start];
                read(shard, start, tokens);
                documents.Add(System.Text.Encoding.UTF8.GetString([.. tokens.Where(token => token != corpus.Manifest.Tokenizer.EndOfText).Select(token => (byte)token)]));
                start = end;
            }
            Assert.Equal(split.Shards[shard].Tokens, start);
        }
        return documents;
    }
}
