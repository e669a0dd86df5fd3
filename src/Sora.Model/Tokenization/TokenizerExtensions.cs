using System.Buffers;
using System.Text;

namespace Sora.Model.Tokenization;

/// <summary>Encoding and decoding of whole texts.</summary>
public static class TokenizerExtensions
{
    /// <summary>The ids of a text.</summary>
    public static int[] Encode(this ITokenizer tokenizer, ReadOnlySpan<char> text)
    {
        var tokens = new ArrayBufferWriter<int>(Math.Max(16, text.Length / 3));
        tokenizer.Encode(text, tokens);
        return tokens.WrittenSpan.ToArray();
    }

    /// <summary>The text of ids; bytes that are no UTF-8 become U+FFFD.</summary>
    public static string Decode(this ITokenizer tokenizer, ReadOnlySpan<int> tokens)
    {
        var utf8 = new ArrayBufferWriter<byte>(Math.Max(16, tokens.Length * 4));
        tokenizer.Decode(tokens, utf8);
        return Encoding.UTF8.GetString(utf8.WrittenSpan);
    }
}
