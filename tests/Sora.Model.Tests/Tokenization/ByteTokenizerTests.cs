using System.Text;
using CsCheck;
using Sora.Model.Tokenization;

namespace Sora.Model.Tests.Tokenization;

public class ByteTokenizerTests
{
    private readonly ByteTokenizer _tokenizer = new();

    [Fact]
    public void Ids_are_the_utf8_bytes()
    {
        RandomText.Any.Sample(text => Assert.Equal(Encoding.UTF8.GetBytes(text), _tokenizer.Encode(text).Select(id => (byte)id)));
    }

    [Fact]
    public void A_surrogate_pair_on_a_chunk_border_survives()
    {
        for (var length = 330; length < 350; length++)
        {
            var text = new string('x', length) + "\U0001F600\U0001F600";
            Assert.Equal(text, _tokenizer.Decode(_tokenizer.Encode(text)));
        }
    }

    [Fact]
    public void Decode_EndOfText_GivesNothing() => Assert.Equal("ab", _tokenizer.Decode([97, _tokenizer.EndOfText, 98]));

    [Theory]
    [InlineData(257)]
    [InlineData(-1)]
    public void Decode_UnknownId_NamesIt(int id) =>
        Assert.Contains(id.ToString(), Assert.Throws<ArgumentOutOfRangeException>(() => _tokenizer.Decode([id])).Message);

    [Fact]
    public void Load_AfterSave_IsTheByteTokenizer()
    {
        using var folder = new TemporaryFolder();
        TokenizerFiles.Save(_tokenizer, folder.Path);
        Assert.IsType<ByteTokenizer>(TokenizerFiles.Load(folder.Path));
    }
}
