using System.Text;
using Sora.Model.Inference;
using Sora.Model.Tests.Checkpoints;
using Sora.Model.Tokenization;
using Sora.Model.Zoo;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Inference;

public class TextGeneratorTests
{
    private static readonly GenerationOptions _greedy = new() { Temperature = 0, MaxNewTokens = 8 };

    [Theory, MemberData(nameof(TinyModels.Names), MemberType = typeof(TinyModels))]
    public void Generate_Greedy_IsTheLikeliestTokenOfEachFullForward(string name)
    {
        using var model = TinyModels.Random(TinyModels.All[name]);
        int[] prompt = [5, 6, 7];
        var expected = new List<int>(prompt);
        for (var i = 0; i < 8; i++)
        {
            using var guard = no_grad();
            using var scope = NewDisposeScope();
            var next = (int)model.forward(tensor([.. expected.Select(token => (long)token)]).unsqueeze(0))[0, -1].argmax().item<long>();
            if (next == 256)
                break;
            expected.Add(next);
        }
        Assert.Equal(expected.Skip(3), Generator(model).GenerateTokens(prompt, _greedy, TestContext.Current.CancellationToken));
    }

    [Fact]
    public void Shortened_PromptLongerThanTheContext_SaysHowMuchIsRead()
    {
        using var model = TinyModels.Random(TinyModels.Llama);
        var context = model.MaxPositions;
        Assert.Null(Generator(model).Shortened(new string('a', context)));
        Assert.Equal((context + 1, context / 2), Generator(model).Shortened(new string('a', context + 1)));
    }

    [Fact]
    public void Generate_SameSeed_GivesTheSameText()
    {
        using var model = TinyModels.Random(TinyModels.Llama);
        var options = new GenerationOptions { MaxNewTokens = 40, Temperature = 1, Seed = 5 };
        Assert.Equal(Text(model, "ab", options), Text(model, "ab", options));
        Assert.NotEqual(Text(model, "ab", options), Text(model, "ab", options with { Seed = 6 }));
    }

    [Theory]
    [InlineData("llama")]
    [InlineData("gpt2")]
    [InlineData("lstm")]
    public void Generate_FarBeyondTheContext_GoesOn(string name)
    {
        using var model = TinyModels.Random(TinyModels.All[name]);
        var options = new GenerationOptions { MaxNewTokens = 3 * TinyModels.Context, Temperature = 0.7, Seed = 1 }; // a seed that draws no end of text
        var before = DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount;
        Assert.Equal(options.MaxNewTokens, Generator(model).GenerateTokens(new int[2 * TinyModels.Context], options, TestContext.Current.CancellationToken).Count());
        Assert.Equal(before, DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount);
    }

    [Fact]
    public void Generate_ContextFull_GoesOnFromItsLastHalf()
    {
        using var model = new ScriptedModel(257, 4, 'a', 'b', 'c', 'd', 'e');
        Assert.Equal("abcde", string.Concat(Generator(model).Generate("xyz", _greedy with { MaxNewTokens = 5 }, TestContext.Current.CancellationToken)));
        Assert.Equal([(0, "xyz"), (3, "a"), (0, "ab"), (2, "c"), (3, "d")], model.Fed.Select(fed => (fed.Before, string.Concat(fed.Tokens.Select(token => (char)token)))));
    }

    [Fact]
    public void Generate_PromptLongerThanTheContext_UsesTheLastHalf()
    {
        using var model = new ScriptedModel(257, 4, 'a');
        Assert.Equal("a", string.Concat(Generator(model).Generate("uvwxyz", _greedy with { MaxNewTokens = 1 }, TestContext.Current.CancellationToken)));
        Assert.Equal((0, "yz"), (model.Fed[0].Before, string.Concat(model.Fed[0].Tokens.Select(token => (char)token))));
    }

    [Fact]
    public void Generate_EndOfText_Stops()
    {
        using var model = new ScriptedModel(257, 8, 'a', 'b', 256, 'c');
        Assert.Equal("ab", Text(model, "x", _greedy));
    }

    [Fact]
    public void Generate_EmptyPrompt_BeginsANewText()
    {
        using var model = new ScriptedModel(257, 8, 'a', 256);
        Assert.Equal("a", Text(model, "", _greedy));
        Assert.Equal([256], model.Fed[0].Tokens);
    }

    [Fact]
    public void Generate_CharactersOfSeveralBytes_ComeWhole()
    {
        var bytes = Encoding.UTF8.GetBytes("é層😀!").Select(value => (int)value).ToArray();
        using var model = new ScriptedModel(257, 32, [.. bytes, 256]);
        Assert.Equal(["é", "層", "😀", "!"], Generator(model).Generate("x", _greedy with { MaxNewTokens = 20 }, TestContext.Current.CancellationToken));
    }

    [Fact]
    public void Generate_CutInsideACharacter_ShowsThatSomethingIsMissing()
    {
        using var model = new ScriptedModel(257, 32, 0xe5, 0xb1, 0xa4);
        Assert.Equal("\uFFFD", Text(model, "x", _greedy with { MaxNewTokens = 2 }));
    }

    [Fact]
    public void Generate_VocabularyPaddedBeyondTheTokenizer_NeverChoosesThePadding()
    {
        using var model = new ScriptedModel(300, 8, 299);
        Assert.All(Generator(model).GenerateTokens([1], _greedy, TestContext.Current.CancellationToken), token => Assert.Equal(0, token));
    }

    [Fact]
    public void Generate_Cancelled_Stops()
    {
        using var cancel = new CancellationTokenSource();
        using var model = new ScriptedModel(257, 32, 'a');
        using var texts = Generator(model).Generate("x", _greedy, cancel.Token).GetEnumerator();
        Assert.True(texts.MoveNext());
        cancel.Cancel();
        Assert.Throws<OperationCanceledException>(() => texts.MoveNext());
    }

    private static TextGenerator Generator(LanguageModel model) => new(model, new ByteTokenizer(), CPU);

    private static string Text(LanguageModel model, string prompt, GenerationOptions options) =>
        string.Concat(Generator(model).Generate(prompt, options, TestContext.Current.CancellationToken));
}
