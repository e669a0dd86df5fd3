using System.Buffers;
using System.Text;

namespace Sora.Model.Tokenization;

/// <summary>Text of ids that come one at a time. A character may be spread over several ids; it appears when its last byte has.</summary>
public sealed class Utf8Stream
{
    private readonly ITokenizer _tokenizer;
    private readonly Decoder _decoder = Encoding.UTF8.GetDecoder();
    private readonly ArrayBufferWriter<byte> _bytes = new(64);
    private int? _previous;

    /// <summary>Starts after a prompt, or at the start of a text when there is none.</summary>
    public Utf8Stream(ITokenizer tokenizer, ReadOnlySpan<int> prompt = default)
    {
        _tokenizer = tokenizer;
        _previous = prompt.IsEmpty ? null : prompt[^1];
    }

    /// <summary>The characters this id completes; often none or part of a word. Bytes that are no UTF-8 become U+FFFD.</summary>
    public string Append(int id)
    {
        // Some tokenizers drop a space at the start of what they decode: with the id before it, this one is not at the start.
        _bytes.ResetWrittenCount();
        if (_previous is { } previous) _tokenizer.Decode([previous], _bytes);
        var before = _bytes.WrittenCount;
        _bytes.ResetWrittenCount();
        _tokenizer.Decode(_previous is { } left ? [left, id] : [id], _bytes);
        _previous = id;
        return ToText(_bytes.WrittenSpan[before..], isEnd: false);
    }

    /// <summary>What is left of a character that was never completed: U+FFFD, or nothing.</summary>
    public string Complete() => ToText([], isEnd: true);

    private string ToText(ReadOnlySpan<byte> bytes, bool isEnd)
    {
        Span<char> text = new char[Encoding.UTF8.GetMaxCharCount(bytes.Length)];
        return text[.._decoder.GetChars(bytes, text, isEnd)].ToString();
    }
}
