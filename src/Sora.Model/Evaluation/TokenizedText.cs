using System.Text;
using Sora.Model.Tokenization;

namespace Sora.Model.Evaluation;

/// <summary>A stretch of text as tokens.</summary>
/// <param name="Tokens">The tokens.</param>
/// <param name="Utf8Bytes">UTF-8 bytes of the text they stand for.</param>
public readonly record struct TokenizedText(ReadOnlyMemory<int> Tokens, long Utf8Bytes)
{
    /// <summary>Documents as tokens, an end of text after each.</summary>
    public static IEnumerable<TokenizedText> Of(IEnumerable<string> documents, ITokenizer tokenizer) =>
        documents.Select(document => new TokenizedText(
            (int[])[.. tokenizer.Encode(document), tokenizer.EndOfText], Encoding.UTF8.GetByteCount(document)));
}
