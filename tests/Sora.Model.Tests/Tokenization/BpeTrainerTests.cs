using System.Text.Json;
using System.Text.RegularExpressions;
using CsCheck;
using Sora.Model.Tokenization;
using Sora.Model.Tokenization.PreSplit;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Tokenization;

public class BpeTrainerTests
{
    private static readonly string[] Documents = [.. MixedText.Create(300_000).Chunk(3000).Select(chunk => new string(chunk))];
    private static readonly Lazy<ITokenizer> Trained = new(() => Train(1000));

    [Fact]
    public void Train_SimpleText_MergesTheMostFrequentPairFirst()
    {
        // "hug" 10, "pug" 5, "pun" 12, "bun" 4, "hugs" 5: the example of the Hugging Face course. u+g occurs 20 times, then u+n 16, then h+ug 15.
        var text = string.Join('\n', Enumerable.Repeat("hug", 10).Concat(Enumerable.Repeat("pug", 5)).Concat(Enumerable.Repeat("pun", 12))
            .Concat(Enumerable.Repeat("bun", 4)).Concat(Enumerable.Repeat("hugs", 5)));
        var tokenizer = Learn(text, 260);
        Assert.Equal(["ug", "un", "hug"], new[] { 256, 257, 258 }.Select(id => tokenizer.Decode([id])));
        Assert.Equal(259, tokenizer.EndOfText);
        Assert.Equal(["b", "ug", "s"], tokenizer.Encode("bugs").Select(id => tokenizer.Decode([id])));
    }

    [Fact]
    public void Train_EqualCounts_TakesTheSmallerIdsFirst()
    {
        var tokenizer = Learn("dc\nba\ndc\nba", 259);
        Assert.Equal(["ba", "dc"], new[] { 256, 257 }.Select(id => tokenizer.Decode([id])));
    }

    [Fact]
    public void Learned_merges_are_those_of_counting_anew_each_time()
    {
        var word = Gen.Char["abc"].Array[1, 8].Select(chars => new string(chars));
        word.Array[1, 30].Sample(words =>
        {
            var text = string.Join('\n', words);
            Assert.Equal(NaiveMerges(words, 20), Merges(Learn(text, 257 + 20)));
        });
    }

    [Fact]
    public void Train_Twice_IsTheSame()
    {
        using var first = new TemporaryFolder();
        using var second = new TemporaryFolder();
        Trained.Value.Save(first.Path);
        Train(1000).Save(second.Path);
        foreach (var name in new[] { "tokenizer.json", "tokenizer_config.json" })
            Assert.Equal(File.ReadAllBytes(Path.Combine(first.Path, name)), File.ReadAllBytes(Path.Combine(second.Path, name)));
    }

    [Fact]
    public void Train_TooLittleText_GivesASmallerVocabulary()
    {
        var tokenizer = Learn("abab", 4096);
        Assert.Equal(258, tokenizer.VocabSize); // "ab" occurs twice, "abab" once
        Assert.Equal(257, tokenizer.EndOfText);
    }

    [Fact]
    public void Train_NoText_SaysSo()
    {
        Assert.Equal(ExitCode.InvalidInput, Assert.Throws<SoraException>(() => Learn("", 4096)).ExitCode);
        Assert.Equal(ExitCode.Usage, Assert.Throws<SoraException>(() => Learn("text", 256)).ExitCode);
    }

    [Fact]
    public void Encode_AnyText_ComesBack() => RandomText.Any.Sample(text => Assert.Equal(text, Trained.Value.Decode(Trained.Value.Encode(text))));

    [Fact]
    public void Encode_Text_GivesTheIdsOfTheLibraryWithTheSameVocabulary()
    {
        using var folder = new TemporaryFolder();
        Trained.Value.Save(folder.Path);
        using var json = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder.Path, "tokenizer.json")));
        var model = json.RootElement.GetProperty("model");
        var library = Microsoft.ML.Tokenizers.BpeTokenizer.Create(new(model.GetProperty("vocab").EnumerateObject().Select(entry => KeyValuePair.Create(entry.Name, entry.Value.GetInt32())))
        {
            Merges = model.GetProperty("merges").EnumerateArray().Select(merge => merge.GetString()!),
            ByteLevel = true,
            PreTokenizer = new Microsoft.ML.Tokenizers.RegexPreTokenizer(new Regex(Gpt2Splitter.Pattern), null),
        });
        var text = MixedText.Create(60_000);
        Assert.Equal(library.EncodeToIds(text), Trained.Value.Encode(text));
        RandomText.BasicPlane.Sample(part => Assert.Equal(library.EncodeToIds(part), Trained.Value.Encode(part)), iter: 300);
    }

    [Fact]
    public void Encode_LongWords_ComesBack() =>
        Gen.String[Gen.Char['a', 'e'], 30, 600].Sample(text => Assert.Equal(text, Trained.Value.Decode(Trained.Value.Encode(text))));

    [Fact]
    public void Encode_FromManyThreads_GivesTheSameIds()
    {
        var text = MixedText.Create(100_000);
        var expected = Trained.Value.Encode(text);
        Parallel.For(0, 8, _ => Assert.Equal(expected, Trained.Value.Encode(text)));
    }

    [Fact]
    public void Encode_SpecialTokenText_IsOrdinaryText()
    {
        var ids = Trained.Value.Encode("<|endoftext|>");
        Assert.DoesNotContain(Trained.Value.EndOfText, ids);
        Assert.Equal("<|endoftext|>", Trained.Value.Decode(ids));
        Assert.Equal("", Trained.Value.Decode([Trained.Value.EndOfText]));
    }

    [Fact]
    public void Load_AfterSave_IsTheSameTokenizer()
    {
        using var folder = new TemporaryFolder();
        Trained.Value.Save(folder.Path);
        var loaded = TokenizerFiles.Load(folder.Path);
        Assert.Equal("bpe", loaded.Kind);
        Assert.Equal(1000, loaded.VocabSize);
        Assert.Equal(999, loaded.EndOfText);
        Assert.Equal(Trained.Value.Encode(Documents[0]), loaded.Encode(Documents[0]));
    }

    private static ITokenizer Learn(string text, int vocabSize) =>
        BpeTrainer.Train([text], new BpeTrainerOptions { VocabSize = vocabSize }, TestContext.Current.CancellationToken);

    private static ITokenizer Train(int vocabSize) =>
        TokenizerFiles.Create(new TokenizerSettings { Type = TokenizerKind.Bpe, VocabSize = vocabSize }, () => Documents);

    private static string[] Merges(ITokenizer tokenizer)
    {
        using var folder = new TemporaryFolder();
        tokenizer.Save(folder.Path);
        using var json = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder.Path, "tokenizer.json")));
        return [.. json.RootElement.GetProperty("model").GetProperty("merges").EnumerateArray().Select(merge => merge.GetString()!)];
    }

    // The definition, without any bookkeeping. Ids: 'a' = 97, 'b' = 98, 'c' = 99, then merges in order of creation.
    private static string[] NaiveMerges(string[] words, int entries)
    {
        var ids = new Dictionary<string, int> { ["a"] = 97, ["b"] = 98, ["c"] = 99, ["\u010A"] = 10 };
        var split = words.Select(word => word.Select(c => c.ToString()).ToList()).ToList();
        var merges = new List<string>();
        for (var next = 256; next < 256 + entries;)
        {
            var best = split.SelectMany(word => word.Zip(word.Skip(1)))
                .GroupBy(pair => pair).Where(group => group.Count() > 1)
                .OrderByDescending(group => group.Count()).ThenBy(group => ids[group.Key.First]).ThenBy(group => ids[group.Key.Second]).FirstOrDefault();
            if (best is null) break;
            var (left, right) = best.Key;
            merges.Add($"{left} {right}");
            if (ids.TryAdd(left + right, next)) next++;
            foreach (var word in split)
            {
                for (var i = 0; i + 1 < word.Count; i++)
                {
                    if (word[i] != left || word[i + 1] != right) continue;
                    word[i] += right;
                    word.RemoveAt(i + 1);
                }
            }
        }
        return [.. merges];
    }
}
