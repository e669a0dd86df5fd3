using System.Text;

namespace Sora.Model.Tokenization;

/// <summary>What <c>sora tokenizer show</c> tells of a tokenizer.</summary>
/// <param name="Kind">See <see cref="ITokenizer.Kind"/>.</param>
/// <param name="VocabSize">See <see cref="ITokenizer.VocabSize"/>.</param>
/// <param name="EndOfText">See <see cref="ITokenizer.EndOfText"/>.</param>
/// <param name="Samples">Texts and how they are cut.</param>
/// <param name="BytesPerToken">Of the text measured; more is a shorter sequence.</param>
/// <param name="IsLossless">The text measured came back as it was.</param>
public sealed record TokenizerSummary(
    string Kind, int VocabSize, int EndOfText, IReadOnlyList<TokenizerSample> Samples, double BytesPerToken, bool IsLossless)
{
    private static readonly string[] Texts = ["Hello, world! It's 2026.", "public static int Main(string[] args)", "\u4F60\u597D\uFF0C\u4E16\u754C"];

    /// <summary>Describes a tokenizer; <paramref name="text"/> is what its compression is measured on, or nothing for the samples.</summary>
    public static TokenizerSummary Of(ITokenizer tokenizer, string text = "")
    {
        var measured = text.Length > 0 ? text : string.Join('\n', Texts);
        var ids = tokenizer.Encode(measured);
        return new TokenizerSummary(
            tokenizer.Kind,
            tokenizer.VocabSize,
            tokenizer.EndOfText,
            [.. Texts.Select(sample => TokenizerSample.Of(tokenizer, sample))],
            ids.Length == 0 ? 0 : (double)Encoding.UTF8.GetByteCount(measured) / ids.Length,
            tokenizer.Decode(ids) == measured);
    }
}

/// <summary>A text and its tokens.</summary>
/// <param name="Text">The text.</param>
/// <param name="Ids">Its ids.</param>
/// <param name="Pieces">What each id stands for; bytes that are no whole characters are written as <c>&lt;E4&gt;</c>.</param>
public sealed record TokenizerSample(string Text, IReadOnlyList<int> Ids, IReadOnlyList<string> Pieces)
{
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Cuts a text.</summary>
    public static TokenizerSample Of(ITokenizer tokenizer, string text)
    {
        var ids = tokenizer.Encode(text);
        return new TokenizerSample(text, ids, [.. ids.Select(id => Piece(tokenizer, id))]);
    }

    private static string Piece(ITokenizer tokenizer, int id)
    {
        var bytes = new System.Buffers.ArrayBufferWriter<byte>();
        tokenizer.Decode([id], bytes);
        try
        {
            return Strict.GetString(bytes.WrittenSpan);
        }
        catch (DecoderFallbackException)
        {
            return string.Concat(bytes.WrittenSpan.ToArray().Select(value => $"<{value:X2}>"));
        }
    }
}
