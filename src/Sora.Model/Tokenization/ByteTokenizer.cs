using System.Buffers;
using System.Text;

namespace Sora.Model.Tokenization;

/// <summary>One token a UTF-8 byte, and one for end of text: 257 ids, no training, nothing out of vocabulary.</summary>
public sealed class ByteTokenizer : ITokenizer
{
    private const int EndOfTextId = 256;

    /// <inheritdoc/>
    public string Kind => "byte";

    /// <inheritdoc/>
    public int VocabSize => EndOfTextId + 1;

    /// <inheritdoc/>
    public int EndOfText => EndOfTextId;

    /// <inheritdoc/>
    public void Encode(ReadOnlySpan<char> text, IBufferWriter<int> tokens)
    {
        Span<byte> bytes = stackalloc byte[1024];
        while (!text.IsEmpty)
        {
            // A chunk must not end between the halves of a surrogate pair: each half alone would become U+FFFD.
            var length = Math.Min(text.Length, bytes.Length / 3);
            if (length < text.Length && char.IsHighSurrogate(text[length - 1])) length--;
            var written = Encoding.UTF8.GetBytes(text[..length], bytes);
            var ids = tokens.GetSpan(written);
            for (var i = 0; i < written; i++)
                ids[i] = bytes[i];
            tokens.Advance(written);
            text = text[length..];
        }
    }

    /// <inheritdoc/>
    public void Decode(ReadOnlySpan<int> tokens, IBufferWriter<byte> utf8)
    {
        var bytes = utf8.GetSpan(tokens.Length);
        var written = 0;
        foreach (var id in tokens)
        {
            if ((uint)id >= VocabSize) throw new ArgumentOutOfRangeException(nameof(tokens), id, $"Token id {id} is not in the vocabulary of {VocabSize}.");
            if (id != EndOfTextId) bytes[written++] = (byte)id;
        }
        utf8.Advance(written);
    }

    /// <inheritdoc/>
    public void Save(string folder)
    {
        var vocab = Enumerable.Range(0, 256).Select(value => (ByteSymbols.Symbol((byte)value).ToString(), value)).ToArray();
        TokenizerJsonWriter.Write(new TokenizerJson(Kind, vocab, [], [(TokenizerJson.EndOfTextToken, EndOfTextId)])).Save(folder);
    }
}
