using Sora.Model.Evaluation;
using Sora.Model.Tests.Checkpoints;
using Sora.Model.Tokenization;
using Sora.Model.Zoo;
using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Evaluation;

public class EvaluatorTests
{
    private static readonly ByteTokenizer _tokenizer = new();

    [Fact]
    public void Score_ModelThatKnowsNothing_GivesTheLogarithmOfTheVocabulary()
    {
        using var model = ModelZoo.Create(TinyModels.Gpt2, TinyModels.Vocab, TinyModels.Context);
        model.eval();
        var score = Score(model, ["héllo", "world"], batch: 2);
        Assert.Equal(Math.Log(257), score.Loss, 1e-5);
        Assert.Equal(257, score.Perplexity, 1e-2);
        Assert.Equal(6 + 5, score.Bytes);
        Assert.Equal(11 + 2, score.Tokens);
        Assert.Equal(13 * Math.Log2(257) / 11, score.BitsPerByte, 1e-4);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(15)]
    [InlineData(16)]
    [InlineData(17)]
    [InlineData(32)]
    [InlineData(100)]
    public void Score_TextOfAnyLength_PredictsEachTokenOnceInItsWindow(int length)
    {
        using var model = TinyModels.Random(TinyModels.Llama);
        var text = new string([.. Enumerable.Range(0, length).Select(i => (char)('a' + (i * 7 % 26)))]);
        long[] stream = [256, .. text.Select(letter => (long)letter), 256];
        var expected = 0.0;
        for (var start = 0; start < stream.Length - 1; start += TinyModels.Context)
        {
            var window = stream[start..Math.Min(start + TinyModels.Context + 1, stream.Length)];
            var logits = TinyModels.Logits(model, window[..^1]);
            for (var i = 0; i < window.Length - 1; i++)
            {
                var row = logits.AsSpan(i * TinyModels.Vocab, TinyModels.Vocab).ToArray();
                expected += Math.Log(row.Sum(value => Math.Exp(value))) - row[window[i + 1]];
            }
        }
        foreach (var batch in new[] { 1, 2, 5 })
        {
            var score = Score(model, [text], batch);
            Assert.Equal(stream.Length - 1, score.Tokens);
            Assert.Equal(expected / score.Tokens, score.Loss, 1e-4);
        }
    }

    [Fact]
    public void Score_WorksForAnLstm()
    {
        using var model = TinyModels.Random(TinyModels.Lstm);
        Assert.True(double.IsFinite(Score(model, ["some text that is longer than one window"], 2).Loss));
    }

    [Fact]
    public void Score_NoText_IsRefused()
    {
        using var model = TinyModels.Random(TinyModels.Gpt2);
        Assert.Equal(ExitCode.InvalidInput, Assert.Throws<SoraException>(() => Score(model, [], 2)).ExitCode);
        Assert.Equal(ExitCode.InvalidInput, Assert.Throws<SoraException>(() => Score(model, [""], 2)).ExitCode);
    }

    [Fact]
    public void Score_ReportsProgressToTheEnd()
    {
        using var model = TinyModels.Random(TinyModels.Gpt2);
        var reports = new List<long>();
        var text = new string('x', 100);
        new Evaluator(model, CPU, 256, TinyModels.Context, 2).Score(TokenizedText.Of([text], _tokenizer), new Direct(reports), TestContext.Current.CancellationToken);
        Assert.Equal([32, 64, 96, 101], reports);
    }

    private static TextScore Score(LanguageModel model, IEnumerable<string> documents, int batch) =>
        new Evaluator(model, CPU, 256, TinyModels.Context, batch).Score(TokenizedText.Of(documents, _tokenizer), null, TestContext.Current.CancellationToken);

    private sealed class Direct(List<long> reports) : IProgress<long>
    {
        public void Report(long value) => reports.Add(value);
    }
}
