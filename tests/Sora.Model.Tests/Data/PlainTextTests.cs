using System.Text;
using CsCheck;
using Sora.Model.Data.Sources;
using Sora.Model.Tokenization;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Data;

public class PlainTextTests
{
    private static readonly string[] Snippets =
        [" ", "  ", "\n", "\r\n", "\n\n  ", "\t", "word", "Word", "don't", "2024", "12345", "...", "!\n", "();\n", "世界", "。", "é", "\U0001F600", " a", "x ", "/*", "//\n"];

    [Theory]
    [InlineData(TokenizerKind.Cl100k)]
    [InlineData(TokenizerKind.O200k)]
    [InlineData(TokenizerKind.Byte)]
    public void FindCut_BetweenWords_LeavesTheTokensAsTheyWere(TokenizerKind kind)
    {
        var tokenizer = TokenizerFiles.Create(new() { Type = kind }, () => [], TestContext.Current.CancellationToken);
        Gen.OneOfConst(Snippets).Array[1, 40].Select(string.Concat).Sample(text =>
        {
            var utf8 = Encoding.UTF8.GetBytes("some words " + text + " more words");
            var cut = PlainText.FindCut(utf8);
            int[] parts = [.. tokenizer.Encode(Encoding.UTF8.GetString(utf8, 0, cut)), .. tokenizer.Encode(Encoding.UTF8.GetString(utf8[cut..]))];
            Assert.Equal(tokenizer.Encode(Encoding.UTF8.GetString(utf8)), parts);
        }, iter: 300);
    }

    [Theory]
    [InlineData("first\nsecond", 6)]
    [InlineData("世界世界", 9)]
    [InlineData("ab cd ef", 5)]
    public void FindCut_TakesTheLastGoodPlace(string text, int cut) => Assert.Equal(cut, PlainText.FindCut(Encoding.UTF8.GetBytes(text)));

    [Fact]
    public async Task Read_LongTextOfAnyKind_ComesBackWhole()
    {
        foreach (var word in new[] { "word ", "世界", "line\n", "aaaaaaaaaa", "\U0001F600" })
        {
            var text = string.Concat(Enumerable.Repeat(word, 700_000 / Encoding.UTF8.GetByteCount(word)));
            var read = new StringBuilder();
            var ends = new List<bool>();
            await foreach (var batch in PlainText.ReadAsync(new Drip(Encoding.UTF8.GetBytes(text)), "text", () => 0, TestContext.Current.CancellationToken))
            {
                foreach (var part in batch.Decode())
                {
                    read.Append(part.Text);
                    ends.Add(part.EndsDocument);
                }
            }
            Assert.True(text == read.ToString(), word);
            Assert.Equal([false, false, true], ends);
        }
    }

    /// <summary>Gives a few bytes at a time, as sockets and decompressors do.</summary>
    private sealed class Drip(byte[] content) : MemoryStream(content)
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            base.ReadAsync(buffer[..Math.Min(buffer.Length, 4097)], cancellationToken);
    }
}
