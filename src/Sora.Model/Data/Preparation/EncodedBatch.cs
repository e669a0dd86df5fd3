using System.Buffers;
using System.IO.Hashing;
using System.Runtime.InteropServices;
using Sora.Model.Data.Sources;
using Sora.Model.Tokenization;

namespace Sora.Model.Data.Preparation;

/// <summary>A document, or a part of one, within an <see cref="EncodedBatch"/>.</summary>
/// <param name="Tokens">How many tokens it has, without the one that ends documents.</param>
/// <param name="TextBytes">Its size in UTF-8.</param>
/// <param name="ContentHash">Hash of the part's text.</param>
/// <param name="HasText">Whether there is more in it than white space.</param>
/// <param name="EndsDocument">Whether the document ends here.</param>
internal readonly record struct EncodedPart(int Tokens, long TextBytes, ulong ContentHash, bool HasText, bool EndsDocument);

/// <summary>A batch as tokens in the shards' own format. Disposing it gives the buffer back.</summary>
internal sealed class EncodedBatch : IDisposable
{
    private readonly byte[] _rented;
    private readonly int _length;

    private EncodedBatch(byte[] rented, int length, List<EncodedPart> parts, long inputBytes)
    {
        _rented = rented;
        _length = length;
        Parts = parts;
        InputBytes = inputBytes;
    }

    /// <summary>The parts, in order; their tokens follow each other in <see cref="TokenBytes"/>.</summary>
    public IReadOnlyList<EncodedPart> Parts { get; }

    public ReadOnlySpan<byte> TokenBytes => _rented.AsSpan(0, _length);

    public long InputBytes { get; }

    public static EncodedBatch Encode(TextBatch batch, ITokenizer tokenizer, int tokenBytes)
    {
        var tokens = new ArrayBufferWriter<int>(CorpusInput.BatchBytes / 3);
        var parts = new List<EncodedPart>();
        foreach (var part in batch.Decode())
        {
            var before = tokens.WrittenCount;
            tokenizer.Encode(part.Text.Span, tokens);
            var hash = XxHash64.HashToUInt64(MemoryMarshal.AsBytes(part.Text.Span));
            parts.Add(new(tokens.WrittenCount - before, part.Utf8Bytes, hash, !part.Text.Span.IsWhiteSpace(), part.EndsDocument));
        }
        var length = tokens.WrittenCount * tokenBytes;
        var rented = ArrayPool<byte>.Shared.Rent(Math.Max(1, length));
        Data.TokenBytes.Narrow(tokens.WrittenSpan, rented.AsSpan(0, length), tokenBytes);
        return new(rented, length, parts, batch.InputBytes);
    }

    public void Dispose() => ArrayPool<byte>.Shared.Return(_rented);
}
