using Sora.Model.Checkpoints;
using Sora.Model.Data;
using Sora.Model.Evaluation;
using Sora.Model.Inference;
using Sora.Model.Tests.Checkpoints;
using Sora.Model.Tokenization;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Evaluation;

public sealed class EvaluationCorpusTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly CheckpointInfo _checkpoint;

    public EvaluationCorpusTests()
    {
        using var model = TinyModels.Random(TinyModels.Llama);
        _checkpoint = CheckpointFolder.Save(new CheckpointContents
        {
            OutputDir = _folder["run"],
            Step = 1,
            TokensSeen = 1,
            Job = new TrainingJob { Model = TinyModels.Llama, ContextLength = TinyModels.Context },
            CorpusSha256 = "",
            Tokenizer = new ByteTokenizer(),
            Canary = "",
            Numerics = "",
            Weights = model.NamedWeights(),
            Optimizer = [],
        }, 0);
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Score_FileOnDisk_CountsItsExactBytes()
    {
        const string text = "Das Wörterbuch: 詞典. It has some lines.\nAnd one more.\n";
        File.WriteAllText(_folder["text.txt"], text);
        using var loaded = LoadedModel.Load(_checkpoint.Path, "cpu");
        using var corpus = await EvaluationCorpus.OpenAsync(loaded, Data(_folder["text.txt"]), cancellationToken: TestContext.Current.CancellationToken);
        var evaluator = new Evaluator(loaded);
        var score = evaluator.Score(EvaluationCorpus.Texts(corpus), null, TestContext.Current.CancellationToken);
        Assert.Equal(evaluator.Score(TokenizedText.Of([text], loaded.Tokenizer), null, TestContext.Current.CancellationToken), score);
        Assert.Equal(new FileInfo(_folder["text.txt"]).Length, score.Bytes);
    }

    [Fact]
    public async Task Open_CorpusOfAnotherTokenizer_IsRefused()
    {
        File.WriteAllText(_folder["text.txt"], "Some text that is long enough to train a few merges on, some text, some more text.");
        using (var other = await CorpusCache.GetAsync(Data(_folder["text.txt"]), new TokenizerSettings { Type = TokenizerKind.Bpe, VocabSize = 260 }, cancellationToken: TestContext.Current.CancellationToken))
        {
            using var loaded = LoadedModel.Load(_checkpoint.Path, "cpu");
            var error = await Assert.ThrowsAsync<SoraException>(() => EvaluationCorpus.OpenAsync(loaded, Data(other.Folder), cancellationToken: TestContext.Current.CancellationToken));
            Assert.Contains("another tokenizer (bpe, 260 entries)", error.Message);
        }
    }

    [Fact]
    public void Load_OutputFolderOfARun_TakesItsNewestCheckpoint()
    {
        using var loaded = LoadedModel.Load(_folder["run"], "cpu");
        Assert.Equal(_checkpoint.Path, loaded.Path);
        Assert.NotEmpty(string.Concat(new TextGenerator(loaded).Generate("a", new GenerationOptions { MaxNewTokens = 5 }, TestContext.Current.CancellationToken)));
    }

    [Fact]
    public void Load_DamagedWeights_IsRefusedByName()
    {
        var path = Path.Combine(_checkpoint.Path, "model.safetensors");
        var bytes = File.ReadAllBytes(path);
        bytes[^3] ^= 1;
        File.WriteAllBytes(path, bytes);
        Assert.StartsWith($"{_checkpoint.Path} is damaged", Assert.Throws<SoraException>(() => LoadedModel.Load(_checkpoint.Path, "cpu")).Message);
    }

    [Fact]
    public void Load_NothingThere_SaysWhatWasExpected() =>
        Assert.Contains("neither a checkpoint", Assert.Throws<SoraException>(() => LoadedModel.Load(_folder.Path, "cpu")).Message);

    [Fact]
    public void Load_TokenizerOfAnotherModel_IsRefused()
    {
        string[] documents = ["the cat and the dog and the cat sat on the mat with the rat in the hat, the cat sat there and the dog did too"];
        TokenizerFiles.Create(new TokenizerSettings { VocabSize = 300 }, () => documents, TestContext.Current.CancellationToken).Save(_checkpoint.Path);
        File.Delete(Path.Combine(_checkpoint.Path, "manifest.json"));
        Assert.Contains("do not belong together", Assert.Throws<SoraException>(() => LoadedModel.Load(_checkpoint.Path, "cpu")).Message);
    }

    private DataSettings Data(string path) => new() { Train = [path], CacheDir = _folder["cache"] };
}
