using System.IO.Compression;
using System.Text;
using CsCheck;
using Parquet;
using Parquet.Schema;
using Sora.Model.Data;
using Sora.Model.Tokenization;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Data;

public class CorpusPreparerTests
{
    [Fact]
    public async Task Prepare_FolderOfEveryFormat_GivesTheDocumentsInTheOrderOfTheirNames()
    {
        using var folder = new TestFolder();
        folder.File("in/a.txt", "Plain text, 世界.\n");
        folder.File("in/b/b.md", "\uFEFF# Marked");
        folder.File("in/c.jsonl", "{\"id\":1,\"text\":\"one\"}\n\n{\"text\":\"two \\u4e16\",\"more\":{\"text\":\"not this\"}}\n{\"text\":null}\n{\"text\":\"\"}\n{\"text\":\"three\"}");
        folder.File("in/d.txt.gz", Gzip("zipped"));
        folder.File("in/e.txt.zst", Zstandard("squeezed"));
        folder.File("in/f.parquet", await ParquetAsync("text", "row one", "", null, "row 世"));
        folder.File("in/g.parquet.gz", Gzip(await ParquetAsync("text", "zipped row")));
        folder.File("in/h.jsonl.zst", Zstandard("{\"text\":\"squeezed line\"}\n"));
        folder.File("in/empty.txt", "");
        folder.File("in/.hidden/x.txt", "hidden");
        folder.File("in/picture.png", [1, 2, 3]);

        using var corpus = await TestCorpus.PrepareAsync(TestCorpus.Data(folder, folder["in"]), folder["out"]);

        Assert.Equal(
            ["Plain text, 世界.\n", "# Marked", "one", "two 世", "three", "zipped", "squeezed", "row one", "row 世", "zipped row", "squeezed line"],
            TestCorpus.TrainDocuments(corpus));
        Assert.Equal(11, corpus.Manifest.Train.Documents);
        Assert.Equal(TestCorpus.TrainDocuments(corpus).Sum(Encoding.UTF8.GetByteCount), corpus.Manifest.Train.TextBytes);
        Assert.Equal(["in"], corpus.Manifest.Sources);
        corpus.Verify(TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task Prepare_Shards_AreHeaderlessLittleEndianUInt16()
    {
        using var folder = new TestFolder();
        using var corpus = await TestCorpus.PrepareAsync(TestCorpus.Data(folder, folder.File("a.txt", "AB")), folder["out"]);

        Assert.Equal([65, 0, 66, 0, 0, 1], File.ReadAllBytes(folder["out/train-00000.bin"]));
        Assert.Equal("uint16", corpus.Manifest.Dtype);
        Assert.Equal(CorpusManifest.HashOf(File.ReadAllBytes(folder["out/manifest.json"])), corpus.Hash);
    }

    [Theory]
    [InlineData("in/*.txt", "1 3")]
    [InlineData("in/**/*.txt", "1 2 3")]
    [InlineData("in/sub/*", "2")]
    [InlineData("in/1.txt", "1")]
    public async Task Prepare_Glob_ReadsWhatMatches(string pattern, string expected)
    {
        using var folder = new TestFolder();
        folder.File("in/1.txt", "1");
        folder.File("in/sub/2.txt", "2");
        folder.File("in/z3.txt", "3");
        using var corpus = await TestCorpus.PrepareAsync(TestCorpus.Data(folder, folder[pattern]), folder["out"]);
        Assert.Equal(expected, string.Join(' ', TestCorpus.TrainDocuments(corpus)));
    }

    [Fact]
    public async Task Prepare_AnyNumberOfThreads_SameBytes()
    {
        using var folder = new TestFolder();
        var random = new Random(5);
        for (var file = 0; file < 6; file++)
            folder.File($"in/{file}.jsonl", string.Concat(Enumerable.Range(0, 300).Select(line => $"{{\"text\":\"{file} {line} {new string('x', random.Next(3000))}\"}}\n")));
        folder.File("in/long.txt", string.Join(' ', Enumerable.Range(0, 150_000)));
        var data = TestCorpus.Data(folder, folder["in"]) with { ValidationSplit = 0.1 };

        using var one = await TestCorpus.PrepareAsync(data, folder["one"], threads: 1, shardTokens: 500_000);
        using var many = await TestCorpus.PrepareAsync(data, folder["many"], threads: 7, shardTokens: 500_000);

        Assert.Equal(one.Hash, many.Hash);
        Assert.True(one.Manifest.Train.Shards.Count > 2);
        many.Verify(TestContext.Current.CancellationToken);
        Assert.Contains(string.Join(' ', Enumerable.Range(0, 150_000)), TestCorpus.TrainDocuments(many).Concat(TestCorpus.ValidationDocuments(many)));
    }

    [Fact]
    public async Task Prepare_ValidationSplit_HoldsOutWholeDocumentsByTheirContent()
    {
        using var folder = new TestFolder();
        string Lines(IEnumerable<int> documents) => string.Concat(documents.Select(i => $"{{\"text\":\"document {i}\"}}\n"));
        var data = TestCorpus.Data(folder, folder.File("a.jsonl", Lines(Enumerable.Range(0, 2000)))) with { ValidationSplit = 0.1 };
        using var corpus = await TestCorpus.PrepareAsync(data, folder["out"]);
        using var turned = await TestCorpus.PrepareAsync(data with { Train = [folder.File("b.jsonl", Lines(Enumerable.Range(0, 2000).Reverse()))] }, folder["turned"]);

        var held = TestCorpus.ValidationDocuments(corpus);
        Assert.InRange(held.Count, 140, 260);
        Assert.Equal(2000, held.Concat(TestCorpus.TrainDocuments(corpus)).Distinct().Count());
        // The first document is always trained on; all others go where their content says.
        Assert.True(held.ToHashSet().SetEquals(TestCorpus.ValidationDocuments(turned).Concat(held.Intersect(["document 1999"])).Except(["document 0"])));
    }

    [Fact]
    public async Task Prepare_ChanceHoldsOutNothing_TheLastDocumentIsHeldOut()
    {
        using var folder = new TestFolder();
        var data = TestCorpus.Data(folder, folder.File("a.jsonl", "{\"text\":\"first\"}\n{\"text\":\"second\"}\n{\"text\":\"läst\"}\n")) with { ValidationSplit = 1e-9 };
        using var corpus = await TestCorpus.PrepareAsync(data, folder["out"]);
        Assert.Equal(["first", "second"], TestCorpus.TrainDocuments(corpus));
        Assert.Equal(["läst"], TestCorpus.ValidationDocuments(corpus));
        Assert.Equal((2, 13, 11), (corpus.Manifest.Train.Documents, corpus.Manifest.Train.Tokens, corpus.Manifest.Train.TextBytes));
        Assert.Equal((1, 6, 5), (corpus.Manifest.Validation.Documents, corpus.Manifest.Validation.Tokens, corpus.Manifest.Validation.TextBytes));
        corpus.Verify(TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task Prepare_LastDocumentAloneInItsShard_MovesWithTheShard()
    {
        using var folder = new TestFolder();
        var data = TestCorpus.Data(folder, folder.File("a.jsonl", "{\"text\":\"first\"}\n{\"text\":\"last\"}\n")) with { ValidationSplit = 1e-9 };
        using var corpus = await TestCorpus.PrepareAsync(data, folder["out"], shardTokens: 1);
        Assert.Equal(["first"], TestCorpus.TrainDocuments(corpus));
        Assert.Equal(["last"], TestCorpus.ValidationDocuments(corpus));
        Assert.Single(corpus.Manifest.Train.Shards);
    }

    [Fact]
    public async Task Prepare_SingleDocument_HoldsOutItsEnd()
    {
        using var folder = new TestFolder();
        var data = TestCorpus.Data(folder, folder.File("a.txt", new string('a', 899) + new string('b', 100))) with { ValidationSplit = 0.1 };
        using var corpus = await TestCorpus.PrepareAsync(data, folder["out"]);
        Assert.Equal([new string('a', 899) + "b"], TestCorpus.TrainDocuments(corpus));
        Assert.Equal([new string('b', 99)], TestCorpus.ValidationDocuments(corpus));
        Assert.Equal((900, 99), (corpus.Manifest.Train.TextBytes, corpus.Manifest.Validation.TextBytes));
    }

    [Fact]
    public async Task Prepare_NoSplit_HasNoValidationShard()
    {
        using var folder = new TestFolder();
        using var corpus = await TestCorpus.PrepareAsync(TestCorpus.Data(folder, folder.File("a.txt", "text")), folder["out"]);
        Assert.Empty(corpus.Manifest.Validation.Shards);
    }

    [Fact]
    public async Task Prepare_InvalidUtf8InText_NamesFileAndByte()
    {
        using var folder = new TestFolder();
        var bytes = Encoding.UTF8.GetBytes(string.Join(' ', Enumerable.Range(0, 100_000)));
        bytes[500_001] = 0xE9;
        await AssertFailsAsync(folder, folder.File("latin.txt", bytes), "latin.txt is not UTF-8: the byte at offset 500,001 (0xE9)", "iconv");
    }

    [Theory]
    [InlineData("utf-16", true, "UTF-16")]
    [InlineData("utf-16BE", true, "UTF-16")]
    [InlineData("utf-16", false, "UTF-16LE")]
    [InlineData("utf-16BE", false, "UTF-16BE")]
    public async Task Prepare_Utf16_IsNamedAsSuch(string name, bool mark, string iconv)
    {
        using var folder = new TestFolder();
        var encoding = Encoding.GetEncoding(name);
        byte[] File(string text) => [.. mark ? encoding.GetPreamble() : [], .. encoding.GetBytes(text)];
        var expected = $"is UTF-16, not UTF-8. Convert the file with 'iconv -f {iconv} -t UTF-8'.";
        await AssertFailsAsync(folder, folder.File("a.txt", File("Für Elise, 世界, und noch mehr.\n")), "a.txt " + expected);
        await AssertFailsAsync(folder, folder.File("a.jsonl", File("{\"text\":\"one\"}\n{\"text\":\"two\"}\n")), "a.jsonl " + expected);
    }

    [Fact]
    public async Task Prepare_AFewZeros_AreText()
    {
        using var folder = new TestFolder();
        using var corpus = await TestCorpus.PrepareAsync(TestCorpus.Data(folder, folder.File("a.txt", "a\0b, and no UTF-16\0\0")), folder["out"]);
        Assert.Equal(["a\0b, and no UTF-16\0\0"], TestCorpus.TrainDocuments(corpus));
    }

    [Fact]
    public async Task Prepare_InvalidUtf8InJsonAndParquet_NamesTheByte()
    {
        using var folder = new TestFolder();
        var json = Encoding.Latin1.GetBytes("{\"text\":\"good\"}\n{\"text\":\"b\u00e9d\"}\n");
        await AssertFailsAsync(folder, folder.File("latin.jsonl", json), "latin.jsonl is not UTF-8: the byte at offset 26 (0xE9)");

        var parquet = await ParquetAsync("text", "plain ZZZZ text");
        for (int at; (at = parquet.AsSpan().IndexOf("ZZZZ"u8)) >= 0;) parquet[at] = 0xFF; // in the page, and in its statistics
        await AssertFailsAsync(folder, folder.File("bad.parquet", parquet), "bad.parquet, row group 0, row 0 is not UTF-8: the byte at offset 6");
    }

    [Theory]
    [InlineData("{\"text\":\"fine\"}\n{\"txet\":\"x\"}\n", "line 2: no field 'text'. Name the one that holds the text with data.text_field")]
    [InlineData("{\"text\":3}", "line 1: the field 'text' is not a string")]
    [InlineData("{\"text\":\"cut", "line 1: not valid JSON at byte ")]
    [InlineData("{\"text\":\"a\"}\n{\"text\":\"a\"} {\"text\":\"b\"}", "line 2: not valid JSON at byte 14 ('{' is invalid after a single JSON value. Expected end of data).")]
    [InlineData("{\"text\":\"\\ud800\"}", "line 1: not valid text")]
    [InlineData("[1]", "line 1: not a JSON object")]
    public async Task Prepare_BrokenJsonLine_NamesFileAndLine(string content, string message)
    {
        using var folder = new TestFolder();
        await AssertFailsAsync(folder, folder.File("broken.jsonl", content), "broken.jsonl", message);
    }

    [Fact]
    public async Task Prepare_DamagedCompression_IsRefusedByName()
    {
        using var folder = new TestFolder();
        var noise = new byte[300_000];
        new Random(1).NextBytes(noise);
        var text = Convert.ToHexString(noise);
        await AssertFailsAsync(folder, folder.File("cut.txt.gz", Gzip(text)[..^1000]), "cut.txt.gz is damaged or is no .gz file");
        await AssertFailsAsync(folder, folder.File("cut.txt.zst", Zstandard(text)[..^1000]), "cut.txt.zst is damaged or is no .zst file");
        await AssertFailsAsync(folder, folder.File("no.txt.gz", "not compressed"), "no.txt.gz is not compressed", "gzip, or rename it without .gz");
        await AssertFailsAsync(folder, folder.File("no.txt.zst", "not compressed"), "no.txt.zst is not compressed", "zstd, or rename it without .zst");
        await AssertFailsAsync(folder, folder.File("no.parquet", "not a Parquet file at all"), "no.parquet is no Parquet file");
    }

    [Fact]
    public async Task Prepare_ParquetWithoutTheField_ListsItsColumns()
    {
        using var folder = new TestFolder();
        await AssertFailsAsync(folder, folder.File("a.parquet", await ParquetAsync("content", "x")), "no text column 'text'", "columns are id, content", "data.text_field");
    }

    [Fact]
    public async Task Prepare_NothingToRead_SaysSo()
    {
        using var folder = new TestFolder();
        folder.File("pictures/a.png", [1]);
        await AssertFailsAsync(folder, folder["absent.txt"], "absent.txt does not exist");
        await AssertFailsAsync(folder, "ftp://example.org/a.txt", "of URLs only http and https ones can");
        await AssertFailsAsync(folder, folder["*.txt"], "matches no file");
        await AssertFailsAsync(folder, folder["no/such/*.txt"], "there is no folder");
        await AssertFailsAsync(folder, folder["pictures"], "matches 1 file, but not of a type this program reads");
        await AssertFailsAsync(folder, folder["pictures/a.png"], "has a type this program does not read");
        await AssertFailsAsync(folder, folder.File("empty.txt", ""), "There is no text in");
        await AssertFailsAsync(folder, folder.File("blank.txt", " \n\t\u3000\r\n "), "There is no text in", "blank.txt");
        await AssertFailsAsync(folder, folder.File("blank.jsonl", "{\"text\":\" \"}\n{\"text\":\"\\n\"}\n"), "There is no text in");
    }

    [Fact]
    public async Task Prepare_OutputThatCannotBe_SaysSo()
    {
        using var folder = new TestFolder();
        var data = TestCorpus.Data(folder, folder.File("a.txt", "text"));
        var taken = await Assert.ThrowsAsync<SoraException>(() => TestCorpus.PrepareAsync(data, folder.Path));
        Assert.Contains("exists already and is not empty", taken.Message);
        var below = await Assert.ThrowsAsync<SoraException>(() => TestCorpus.PrepareAsync(data, folder["a.txt/out"]));
        Assert.Contains("a.txt/out cannot be written", below.Message.Replace('\\', '/'));
        Assert.Equal([ExitCode.Usage, ExitCode.Usage], [taken.ExitCode, below.ExitCode]);
    }

    [Fact]
    public async Task Prepare_LeftoversOfAKilledRun_AreRemovedAndNamed()
    {
        using var folder = new TestFolder();
        folder.File("out.preparing-0123456789abcdef/train-00000.bin", "half");
        folder.File("out.lock", ""); // a process that is killed leaves the file, but not its lock
        folder.File("output.preparing-0123456789abcdef/train-00000.bin", "of another corpus");
        var messages = new Messages();

        using var corpus = await new CorpusPreparer().PrepareAsync(
            TestCorpus.Data(folder, folder.File("a.txt", "text")), TestCorpus.Bytes, folder["out"], messages, TestContext.Current.CancellationToken);

        Assert.Equal(["Removed " + folder["out.preparing-0123456789abcdef"] + ", which a run that was killed had left."], messages.All);
        Assert.Equal(["a.txt", "out", "output.preparing-0123456789abcdef"], Directory.GetFileSystemEntries(folder.Path).Select(Path.GetFileName).Order());
    }

    [Fact]
    public async Task Prepare_AnotherRunAtTheSameFolder_IsRefusedAndDisturbsNothing()
    {
        using var folder = new TestFolder();
        var data = TestCorpus.Data(folder, folder.File("a.txt", "text"));
        folder.File("out.preparing-0123456789abcdef/train-00000.bin", "half");
        using (FolderClaim.TryTake(folder["out"]))
        {
            var error = await Assert.ThrowsAsync<SoraException>(() => TestCorpus.PrepareAsync(data, folder["out"]));
            Assert.Equal($"Another run is preparing {folder["out"]}. Wait for it, or choose another folder.", error.Message);
            Assert.True(File.Exists(folder["out.preparing-0123456789abcdef/train-00000.bin"]));
        }
        using var corpus = await TestCorpus.PrepareAsync(data, folder["out"]);
        Assert.Equal(["text"], TestCorpus.TrainDocuments(corpus));
    }

    [Fact]
    public async Task Prepare_Cancelled_LeavesNothing()
    {
        using var folder = new TestFolder();
        using var stop = new CancellationTokenSource();
        var input = folder.File("a.txt", string.Join(' ', Enumerable.Range(0, 300_000)));
        var progress = new StopAt(PreparePhase.Encoding, stop);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() =>
            new CorpusPreparer().PrepareAsync(TestCorpus.Data(folder, input), TestCorpus.Bytes, folder["out"], progress, stop.Token));
        Assert.Equal(["a.txt"], Directory.GetFileSystemEntries(folder.Path).Select(Path.GetFileName));
    }

    [Fact]
    public async Task Prepare_TrainedTokenizer_DecodesToTheText()
    {
        using var folder = new TestFolder();
        var text = string.Join(' ', Enumerable.Repeat("The quick brown fox, 世界, jumps over the lazy dog.", 300));
        var data = TestCorpus.Data(folder, folder.File("a.txt", text));
        using var corpus = await new CorpusPreparer().PrepareAsync(
            data, new() { Type = TokenizerKind.Bpe, VocabSize = 300 }, folder["out"], cancellationToken: TestContext.Current.CancellationToken);
        var tokens = new int[corpus.Manifest.Train.Tokens];
        corpus.ReadTrain(0, 0, tokens);
        var tokenizer = TokenizerFiles.Load(corpus.Folder);
        Assert.Equal(text, tokenizer.Decode(tokens));
        Assert.True(tokens.Length < text.Length / 2);
    }

    [Theory]
    [InlineData(4096, true)]
    [InlineData(258, false)]
    public async Task Prepare_TextTooPoorForTheVocabulary_SaysSo(int wanted, bool warns)
    {
        using var folder = new TestFolder();
        var data = TestCorpus.Data(folder, folder.File("a.txt", "to be or not to be"));
        var messages = new Messages();
        using var corpus = await new CorpusPreparer().PrepareAsync(
            data, new() { Type = TokenizerKind.Bpe, VocabSize = wanted }, folder["out"], messages, TestContext.Current.CancellationToken);
        var size = corpus.Manifest.Tokenizer.VocabSize;
        if (warns) Assert.StartsWith($"The vocabulary has {size} entries and not the 4096 asked for", Assert.Single(messages.All));
        else Assert.Equal((258, 0), (size, messages.All.Count));
    }

    private static async Task AssertFailsAsync(TestFolder folder, string source, params string[] messages)
    {
        var error = await Assert.ThrowsAsync<SoraException>(() => TestCorpus.PrepareAsync(TestCorpus.Data(folder, source), folder["out"]));
        Assert.Equal(ExitCode.InvalidInput, error.ExitCode);
        Assert.All(messages, message => Assert.Contains(message, error.Message));
        Assert.Empty(Directory.GetDirectories(folder.Path, "out*"));
    }

    private static byte[] Gzip(string text) => Gzip(Encoding.UTF8.GetBytes(text));

    private static byte[] Gzip(byte[] content)
    {
        var packed = new MemoryStream();
        using (var stream = new GZipStream(packed, CompressionLevel.Fastest)) stream.Write(content);
        return packed.ToArray();
    }

    private static byte[] Zstandard(string text)
    {
        using var compressor = new ZstdSharp.Compressor();
        return compressor.Wrap(Encoding.UTF8.GetBytes(text)).ToArray();
    }

    private static async Task<byte[]> ParquetAsync(string field, params string?[] texts)
    {
        var schema = new ParquetSchema(new DataField<int>("id"), new DataField<string>(field));
        var stream = new MemoryStream();
        await using (var writer = await ParquetWriter.CreateAsync(schema, stream))
        {
            using var group = writer.CreateRowGroup();
            await group.WriteAsync<int>(schema.DataFields[0], Enumerable.Range(0, texts.Length).ToArray());
            await group.WriteAsync(schema.DataFields[1], texts!);
        }
        return stream.ToArray();
    }

    private sealed class Messages : IProgress<PrepareProgress>
    {
        public List<string> All { get; } = [];

        public void Report(PrepareProgress value)
        {
            if (value.Message is not { } message) return;
            lock (All) All.Add(message);
        }
    }

    private sealed class StopAt(PreparePhase phase, CancellationTokenSource stop) : IProgress<PrepareProgress>
    {
        public void Report(PrepareProgress value)
        {
            if (value.Phase == phase) stop.Cancel();
        }
    }
}
