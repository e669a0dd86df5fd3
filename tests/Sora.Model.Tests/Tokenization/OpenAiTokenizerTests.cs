using System.Text;
using CsCheck;
using Microsoft.ML.Tokenizers;
using Sora.Model.Tokenization;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Tokenization;

public class OpenAiTokenizerTests
{
    private static readonly Lazy<ITokenizer> O200k = new(() => TokenizerFiles.Create(new TokenizerSettings { Type = TokenizerKind.O200k }, () => []));
    private static readonly Lazy<ITokenizer> Cl100k = new(() => TokenizerFiles.Create(new TokenizerSettings { Type = TokenizerKind.Cl100k }, () => []));
    private static readonly Lazy<TiktokenTokenizer> O200kOfLibrary = new(() => TiktokenTokenizer.CreateForEncoding("o200k_base"));
    private static readonly Lazy<TiktokenTokenizer> Cl100kOfLibrary = new(() => TiktokenTokenizer.CreateForEncoding("cl100k_base"));

    [Theory]
    [InlineData("o200k")]
    [InlineData("cl100k")]
    public void Ids_equal_the_librarys_on_a_megabyte_of_English_Chinese_and_code(string kind)
    {
        var text = MixedText.Create(900_000);
        Assert.True(Encoding.UTF8.GetByteCount(text) > 1_000_000);
        Assert.Equal(Library(kind).EncodeToIds(text, considerPreTokenization: true, considerNormalization: false), Ours(kind).Encode(text));
    }

    [Theory]
    [InlineData("o200k")]
    [InlineData("cl100k")]
    public void Ids_equal_the_librarys_on_random_text_of_the_basic_plane(string kind)
    {
        // Beyond it the library classes halves of characters (see CharacterClasses), and it looks for special tokens, which are ordinary text here.
        var library = Library(kind);
        RandomText.BasicPlane.Where(text => !text.Contains("<|", StringComparison.Ordinal)).Sample(
            text => Assert.Equal(library.EncodeToIds(text, considerPreTokenization: true, considerNormalization: false), Ours(kind).Encode(text)), iter: 1000);
    }

    [Theory]
    [InlineData("o200k")]
    [InlineData("cl100k")]
    public void Any_text_comes_back(string kind) =>
        RandomText.Any.Sample(text => Assert.Equal(text, Ours(kind).Decode(Ours(kind).Encode(text))), iter: 1000);

    [Theory]
    [InlineData("o200k", 199999, 200019)]
    [InlineData("cl100k", 100257, 100277)]
    public void EndOfText_is_OpenAIs(string kind, int endOfText, int vocabSize)
    {
        Assert.Equal(endOfText, Ours(kind).EndOfText);
        Assert.Equal(vocabSize, Ours(kind).VocabSize);
    }

    [Theory]
    [InlineData("o200k")]
    [InlineData("cl100k")]
    public void Encode_SpecialTokenText_IsOrdinaryText(string kind)
    {
        var ids = Ours(kind).Encode("a<|endoftext|>b");
        Assert.DoesNotContain(Ours(kind).EndOfText, ids);
        Assert.Equal("a<|endoftext|>b", Ours(kind).Decode(ids));
    }

    [Theory]
    [InlineData("o200k")]
    [InlineData("cl100k")]
    public void Decode_AnyId_GivesBytesOrNothing(string kind)
    {
        var every = Enumerable.Range(0, Ours(kind).VocabSize).ToArray();
        Assert.NotEmpty(Ours(kind).Decode(every));
        Assert.Throws<ArgumentOutOfRangeException>(() => Ours(kind).Decode([Ours(kind).VocabSize]));
    }

    [Fact]
    public void Load_AfterSave_GivesTheSameIds()
    {
        using var folder = new TemporaryFolder();
        Cl100k.Value.Save(folder.Path);
        var loaded = TokenizerFiles.Load(folder.Path);
        Assert.Equal("cl100k", loaded.Kind);

        // And the tokenizer.json by itself, as Hugging Face would read it.
        File.Delete(Path.Combine(folder.Path, "tokenizer_config.json"));
        var generic = TokenizerFiles.Load(folder.Path);
        Assert.Equal("file", generic.Kind);
        Assert.Equal(Cl100k.Value.VocabSize, generic.VocabSize);
        Assert.Equal(Cl100k.Value.EndOfText, generic.EndOfText);
        var text = MixedText.Create(100_000);
        Assert.Equal(Cl100k.Value.Encode(text), generic.Encode(text));
    }

    private static ITokenizer Ours(string kind) => kind == "o200k" ? O200k.Value : Cl100k.Value;

    private static TiktokenTokenizer Library(string kind) => kind == "o200k" ? O200kOfLibrary.Value : Cl100kOfLibrary.Value;
}
