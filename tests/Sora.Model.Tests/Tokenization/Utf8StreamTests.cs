using CsCheck;
using Sora.Model.Tokenization;

namespace Sora.Model.Tests.Tokenization;

public class Utf8StreamTests
{
    private readonly ByteTokenizer _tokenizer = new();

    [Fact]
    public void A_character_appears_with_its_last_byte()
    {
        var stream = new Utf8Stream(_tokenizer);
        Assert.Equal(["a", "", "", "\u4F60", "", "", "", "\U0001F600"], _tokenizer.Encode("a\u4F60\U0001F600").Select(stream.Append));
        Assert.Equal("", stream.Complete());
    }

    [Fact]
    public void What_comes_out_is_the_text() => RandomText.Any.Sample(text =>
    {
        var stream = new Utf8Stream(_tokenizer);
        Assert.Equal(text, string.Concat(_tokenizer.Encode(text).Select(stream.Append)) + stream.Complete());
    });

    [Fact]
    public void Bytes_that_are_no_character_become_a_replacement()
    {
        var stream = new Utf8Stream(_tokenizer);
        Assert.Equal("", stream.Append(0xE4));
        Assert.Equal("\uFFFDa", stream.Append('a'));
        Assert.Equal("", stream.Append(0xF0));
        Assert.Equal("\uFFFD", stream.Complete());
    }
}
