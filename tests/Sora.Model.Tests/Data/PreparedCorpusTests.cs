using System.Text;
using Sora.Model.Data;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Data;

public class PreparedCorpusTests
{
    private static async Task<string> FolderAsync(TestFolder folder)
    {
        using var corpus = await TestCorpus.PrepareAsync(TestCorpus.Data(folder, folder.File("in.txt", "Some text to read.")), folder["corpus"]);
        return corpus.Folder;
    }

    [Fact]
    public async Task Open_FileOfAnotherSize_NamesIt()
    {
        using var folder = new TestFolder();
        var corpus = await FolderAsync(folder);
        File.AppendAllText(Path.Combine(corpus, "train-00000.bin"), "more");
        AssertInvalid("train-00000.bin has 42 bytes, but the manifest says 38 bytes", () => PreparedCorpus.Open(corpus));
        File.Delete(Path.Combine(corpus, "train-00000.bin"));
        AssertInvalid("train-00000.bin is missing", () => PreparedCorpus.Open(corpus));
    }

    [Fact]
    public async Task Verify_OneBitFlipped_NamesTheFile()
    {
        using var folder = new TestFolder();
        var path = Path.Combine(await FolderAsync(folder), "train-00000.bin");
        var bytes = File.ReadAllBytes(path);
        bytes[7] ^= 1;
        File.WriteAllBytes(path, bytes);
        using var corpus = PreparedCorpus.Open(folder["corpus"]);
        AssertInvalid("the content of train-00000.bin is not what the manifest says", () => corpus.Verify(TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task Open_NoManifestOrADamagedOne_SaysWhatToDo()
    {
        using var folder = new TestFolder();
        AssertInvalid("is not a prepared corpus", () => PreparedCorpus.Open(folder.Path));
        var manifest = Path.Combine(await FolderAsync(folder), CorpusManifest.FileName);
        var text = File.ReadAllText(manifest);
        foreach (var (broken, message) in new[]
        {
            (text[..^10], $"{manifest} is damaged or is no manifest of a prepared corpus (line {text[..^10].Count(c => c == '\n') + 1}). Prepare the corpus again with 'sora data prepare'."),
            ("{}", "is no manifest of a prepared corpus (line 1). Prepare"),
            ("null", "is no manifest of a prepared corpus. Prepare"),
            (text.Replace("\"shards\": [\n", "\"shards\": [null,\n"), "is no manifest of a prepared corpus. Prepare"),
            (text.Replace("\"format_version\": 1", "\"format_version\": 9"), "has format version 9, but this program reads 1"),
            (text.Replace("\"train-00000.bin\"", "\"../train-00000.bin\""), "is damaged at its file '../train-00000.bin'"),
            (text.Replace("\"sha256\": \"", "\"sha256\": \"../"), "is damaged at its file"),
            (text.Replace("\"tokens\": 19", "\"tokens\": 20"), "20 tokens do not make the 38 bytes of 'train-00000.bin'"),
            (text.Replace("\"uint16\"", "\"float\""), "dtype 'float'"),
        })
        {
            File.WriteAllText(manifest, broken);
            AssertInvalid(message, () => PreparedCorpus.Open(folder["corpus"]));
        }
    }

    [Fact]
    public async Task ReadTrain_PastTheEnd_Throws()
    {
        using var folder = new TestFolder();
        using var corpus = PreparedCorpus.Open(await FolderAsync(folder));
        var tokens = new int[4];
        corpus.ReadTrain(0, 5, tokens);
        Assert.Equal("text", Encoding.ASCII.GetString([.. tokens.Select(token => (byte)token)]));
        Assert.Throws<ArgumentOutOfRangeException>(() => corpus.ReadTrain(0, 16, tokens));
    }

    [Fact]
    public async Task Pieces_OfEveryFile_AreServedByHash()
    {
        using var folder = new TestFolder();
        using var corpus = PreparedCorpus.Open(await FolderAsync(folder));
        var pieces = new CorpusPieces(corpus);
        Assert.Equal(corpus.Hash, CorpusManifest.HashOf(pieces.Manifest.Span));
        foreach (var file in corpus.Manifest.Files)
        {
            var content = new MemoryStream();
            foreach (var piece in file.Pieces) content.Write((await pieces.ReadAsync(piece, TestContext.Current.CancellationToken))!.Value.Span);
            Assert.Equal(File.ReadAllBytes(Path.Combine(corpus.Folder, file.Name)), content.ToArray());
        }
        Assert.Null(await pieces.ReadAsync(new string('0', 64), TestContext.Current.CancellationToken));
    }

    private static void AssertInvalid(string message, Action action)
    {
        var error = Assert.Throws<SoraException>(action);
        Assert.Contains(message, error.Message);
        Assert.Equal(ExitCode.InvalidInput, error.ExitCode);
    }
}
