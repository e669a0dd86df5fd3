using System.Buffers;
using System.Text;
using Sora.Model.Tokenization.PreSplit;

namespace Sora.Model.Tokenization;

/// <summary>What a <see cref="BpeTokenizer"/> is made of.</summary>
internal sealed record BpeTokenizerParts
{
    public required string Kind { get; init; }
    public required BytePairModel Model { get; init; }

    /// <summary>The bytes each id stands for: empty for special tokens and holes in the vocabulary.</summary>
    public required byte[][] Bytes { get; init; }
    public required int EndOfText { get; init; }

    /// <summary>Applied one after the other, each to the words of the one before. None: the text is one word.</summary>
    public required IReadOnlyList<PreSplitter> Splitters { get; init; }

    /// <summary>Found in the text as written.</summary>
    public AddedTokens? AddedTokens { get; init; }

    /// <summary>Found in the normalized text.</summary>
    public AddedTokens? NormalizedAddedTokens { get; init; }
    public IReadOnlyList<TextNormalizer> Normalizers { get; init; } = [];

    /// <summary>Applied to stretches between added tokens, after the normalizers.</summary>
    public TextNormalizer? Prefix { get; init; }

    /// <summary>Decoding drops one space at the start: the one that encoding put there.</summary>
    public bool StripsLeadingSpace { get; init; }

    /// <summary>Writes the files into a folder.</summary>
    public required Action<string> Save { get; init; }
}

/// <summary>
/// Byte-pair encoding with a vocabulary trained here, OpenAI's, or that of a Hugging Face <c>tokenizer.json</c>. Encoding is lossless but for what
/// such a file itself asks to change (NFC, a space marker).
/// </summary>
/// <remarks>
/// An encoder of our own, because Microsoft.ML.Tokenizers 2.0.1 reads no BPE <c>tokenizer.json</c>, classes characters beyond U+FFFF by their UTF-16 halves,
/// and is slower: English prose at 13 MB per second of CPU time with a vocabulary of 4096 and 16 MB with o200k, against 71 and 64 here (2 shared cores, AVX2).
/// The difference is a cache of words and pre-splitters written by hand, which equal their regular expressions by test.
/// <c>benchmarks/Sora.Benchmarks</c>, verb <c>tokenize</c>, measures it.
/// </remarks>
internal sealed class BpeTokenizer(BpeTokenizerParts parts) : ITokenizer
{
    private readonly BytePairModel _model = parts.Model;
    private readonly byte[][] _bytes = parts.Bytes;
    private readonly PreSplitter[] _splitters = [.. parts.Splitters];
    private readonly ThreadLocal<WordCache> _caches = new(() => new WordCache());

    /// <inheritdoc/>
    public string Kind => parts.Kind;

    /// <inheritdoc/>
    public int VocabSize => _bytes.Length;

    /// <inheritdoc/>
    public int EndOfText => parts.EndOfText;

    /// <inheritdoc/>
    public void Encode(ReadOnlySpan<char> text, IBufferWriter<int> tokens)
    {
        var sink = new TokenSink(tokens);
        var cache = _caches.Value!;
        var isStart = true;
        while (parts.AddedTokens is { } added && added.TryFind(text, out var index, out var length, out var id))
        {
            EncodeStretch(text[..index], isStart, cache, ref sink);
            sink.Append([id]);
            text = text[(index + length)..];
            isStart = false;
        }
        EncodeStretch(text, isStart, cache, ref sink);
        sink.Flush();
    }

    /// <inheritdoc/>
    public void Decode(ReadOnlySpan<int> tokens, IBufferWriter<byte> utf8)
    {
        var strip = parts.StripsLeadingSpace;
        foreach (var id in tokens)
        {
            if ((uint)id >= (uint)_bytes.Length) throw new ArgumentOutOfRangeException(nameof(tokens), id, $"Token id {id} is not in the vocabulary of {_bytes.Length}.");
            ReadOnlySpan<byte> bytes = _bytes[id];
            if (bytes.IsEmpty) continue;
            if (strip && bytes[0] == ' ') bytes = bytes[1..];
            strip = false;
            utf8.Write(bytes);
        }
    }

    /// <inheritdoc/>
    public void Save(string folder) => parts.Save(folder);

    private void EncodeStretch(ReadOnlySpan<char> text, bool isStart, WordCache cache, ref TokenSink sink)
    {
        foreach (var normalizer in parts.Normalizers)
        {
            if (normalizer.TryNormalize(text, isStart, out var normalized)) text = normalized;
        }
        while (parts.NormalizedAddedTokens is { } added && added.TryFind(text, out var index, out var length, out var id))
        {
            EncodeWords(text[..index], isStart, cache, ref sink);
            sink.Append([id]);
            text = text[(index + length)..];
            isStart = false;
        }
        EncodeWords(text, isStart, cache, ref sink);
    }

    private void EncodeWords(ReadOnlySpan<char> text, bool isStart, WordCache cache, ref TokenSink sink)
    {
        if (parts.Prefix is { } prefix && prefix.TryNormalize(text, isStart, out var prefixed)) text = prefixed;
        Split(text, 0, cache, ref sink);
    }

    private void Split(ReadOnlySpan<char> text, int stage, WordCache cache, ref TokenSink sink)
    {
        if (stage == _splitters.Length)
        {
            if (!text.IsEmpty) EncodeWord(text, cache, ref sink);
            return;
        }
        var splitter = _splitters[stage];
        var isLast = stage == _splitters.Length - 1;
        var all = splitter.AllEnds(text);
        for (int start = 0, end, word = 0; start < text.Length; start = end)
        {
            end = all is null ? splitter.End(text, start) : all[word++];
            if (isLast)
                EncodeWord(text[start..end], cache, ref sink);
            else
                Split(text[start..end], stage + 1, cache, ref sink);
        }
    }

    private void EncodeWord(ReadOnlySpan<char> word, WordCache cache, ref TokenSink sink)
    {
        if (word.Length > WordCache.MaxLength)
        {
            EncodeLongWord(word, ref sink);
            return;
        }
        var hash = WordCache.Hash(word);
        if (cache.TryGet(word, hash, out var known))
        {
            sink.Append(known);
            return;
        }
        Span<byte> utf8 = stackalloc byte[WordCache.MaxLength * 3];
        Span<int> ids = stackalloc int[WordCache.MaxLength * 3];
        var length = Encoding.UTF8.GetBytes(word, utf8);
        var count = _model.Encode(utf8[..length], ids);
        cache.Add(word, hash, ids[..count]);
        sink.Append(ids[..count]);
    }

    private void EncodeLongWord(ReadOnlySpan<char> word, ref TokenSink sink)
    {
        var utf8 = ArrayPool<byte>.Shared.Rent(Encoding.UTF8.GetMaxByteCount(word.Length));
        var length = Encoding.UTF8.GetBytes(word, utf8);
        var ids = ArrayPool<int>.Shared.Rent(length);
        var count = _model.Encode(utf8.AsSpan(0, length), ids);
        sink.Append(ids.AsSpan(0, count));
        ArrayPool<byte>.Shared.Return(utf8);
        ArrayPool<int>.Shared.Return(ids);
    }
}
