using System.Buffers;

namespace Sora.Model.Tokenization;

/// <summary>Turns text into token ids and back. Implementations are immutable and safe to use from many threads.</summary>
public interface ITokenizer
{
    /// <summary>What it is, as the manifest and <c>sora tokenizer show</c> name it: <c>byte</c>, <c>bpe</c>, <c>o200k</c>, <c>cl100k</c>, <c>file</c>.</summary>
    string Kind { get; }

    /// <summary>Ids are below this; at most 65536 fits uint16 shards.</summary>
    int VocabSize { get; }

    /// <summary>The id put after each document.</summary>
    int EndOfText { get; }

    /// <summary>Appends the ids of <paramref name="text"/>. Special tokens in the text are ordinary text. Lossless for every valid string.</summary>
    void Encode(ReadOnlySpan<char> text, IBufferWriter<int> tokens);

    /// <summary>Appends the bytes the ids stand for; the bytes of one id need not be whole UTF-8 characters. Special tokens give nothing.</summary>
    /// <exception cref="ArgumentOutOfRangeException">An id is not in the vocabulary.</exception>
    void Decode(ReadOnlySpan<int> tokens, IBufferWriter<byte> utf8);

    /// <summary>Writes what <c>TokenizerFiles.Load(folder)</c> needs (a Hugging Face <c>tokenizer.json</c>) into a folder.</summary>
    void Save(string folder);
}
