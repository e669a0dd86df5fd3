using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Sora.Model.Tokenization;

/// <summary>What a byte-level <c>tokenizer.json</c> of ours holds.</summary>
/// <param name="Kind">The tokenizer's kind.</param>
/// <param name="Vocab">Entries without the special ones, written with <see cref="ByteSymbols"/>.</param>
/// <param name="Merges">Pairs in order of rank.</param>
/// <param name="SpecialTokens">The special ones; the first is end of text.</param>
/// <param name="SplitPattern">A pre-split other than GPT-2's.</param>
/// <param name="IgnoreMerges">A pre-split word that is an entry is that token, whatever the merges say.</param>
internal sealed record TokenizerJson(
    string Kind,
    IReadOnlyList<(string Entry, int Id)> Vocab,
    IReadOnlyList<(string Left, string Right)> Merges,
    IReadOnlyList<(string Entry, int Id)> SpecialTokens,
    string? SplitPattern = null,
    bool IgnoreMerges = false)
{
    public const string EndOfTextToken = "<|endoftext|>";
    public const string FileName = "tokenizer.json";
    public const string ConfigFileName = "tokenizer_config.json";

    /// <summary>The key of <c>tokenizer_config.json</c> that says which of our kinds a folder holds. Hugging Face ignores it.</summary>
    public const string KindKey = "sora_tokenizer";
}

/// <summary>The two files of a tokenizer, byte for byte.</summary>
internal sealed record TokenizerFileBytes(byte[] Tokenizer, byte[]? Config)
{
    /// <summary>Writes them into a folder, creating it.</summary>
    public void Save(string folder)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllBytes(Path.Combine(folder, TokenizerJson.FileName), Tokenizer);
        if (Config is not null) File.WriteAllBytes(Path.Combine(folder, TokenizerJson.ConfigFileName), Config);
    }
}

/// <summary>Forms <c>tokenizer.json</c> and <c>tokenizer_config.json</c> as Hugging Face reads them.</summary>
internal static class TokenizerJsonWriter
{
    // Byte symbols are printable characters: unescaped, the file is half the size and can be read. It is never put into HTML.
    private static readonly JsonWriterOptions Format = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static TokenizerFileBytes Write(TokenizerJson tokenizer) => new(
        ToBytes(json => WriteTokenizer(json, tokenizer)), ToBytes(json => WriteConfig(json, tokenizer)));

    private static byte[] ToBytes(Action<Utf8JsonWriter> write)
    {
        var bytes = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(bytes, Format);
        write(json);
        json.Flush();
        return bytes.WrittenSpan.ToArray();
    }

    private static void WriteTokenizer(Utf8JsonWriter json, TokenizerJson tokenizer)
    {
        json.WriteStartObject();
        json.WriteString("version", "1.0");
        json.WriteNull("truncation");
        json.WriteNull("padding");
        json.WriteStartArray("added_tokens");
        foreach (var (entry, id) in tokenizer.SpecialTokens)
            WriteAddedToken(json, entry, id);
        json.WriteEndArray();
        json.WriteNull("normalizer");
        json.WritePropertyName("pre_tokenizer");
        WritePreTokenizer(json, tokenizer.SplitPattern);
        json.WriteNull("post_processor");
        json.WritePropertyName("decoder");
        WriteByteLevel(json, useRegex: true);
        json.WritePropertyName("model");
        WriteModel(json, tokenizer);
        json.WriteEndObject();
    }

    private static void WriteAddedToken(Utf8JsonWriter json, string entry, int id)
    {
        json.WriteStartObject();
        json.WriteNumber("id", id);
        json.WriteString("content", entry);
        json.WriteBoolean("single_word", false);
        json.WriteBoolean("lstrip", false);
        json.WriteBoolean("rstrip", false);
        json.WriteBoolean("normalized", false);
        json.WriteBoolean("special", true);
        json.WriteEndObject();
    }

    private static void WritePreTokenizer(Utf8JsonWriter json, string? splitPattern)
    {
        if (splitPattern is null)
        {
            WriteByteLevel(json, useRegex: true);
            return;
        }
        json.WriteStartObject();
        json.WriteString("type", "Sequence");
        json.WriteStartArray("pretokenizers");
        json.WriteStartObject();
        json.WriteString("type", "Split");
        json.WriteStartObject("pattern");
        json.WriteString("Regex", splitPattern);
        json.WriteEndObject();
        json.WriteString("behavior", "Isolated");
        json.WriteBoolean("invert", false);
        json.WriteEndObject();
        WriteByteLevel(json, useRegex: false);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteByteLevel(Utf8JsonWriter json, bool useRegex)
    {
        json.WriteStartObject();
        json.WriteString("type", "ByteLevel");
        json.WriteBoolean("add_prefix_space", false);
        json.WriteBoolean("trim_offsets", true);
        json.WriteBoolean("use_regex", useRegex);
        json.WriteEndObject();
    }

    private static void WriteModel(Utf8JsonWriter json, TokenizerJson tokenizer)
    {
        json.WriteStartObject();
        json.WriteString("type", "BPE");
        json.WriteNull("dropout");
        json.WriteNull("unk_token");
        json.WriteNull("continuing_subword_prefix");
        json.WriteNull("end_of_word_suffix");
        json.WriteBoolean("fuse_unk", false);
        json.WriteBoolean("byte_fallback", false);
        json.WriteBoolean("ignore_merges", tokenizer.IgnoreMerges);
        json.WriteStartObject("vocab");
        foreach (var (entry, id) in tokenizer.Vocab)
            json.WriteNumber(entry, id);
        // The added tokens are in the vocabulary too, so that readers which build the vocabulary from here alone have no hole at the end.
        foreach (var (entry, id) in tokenizer.SpecialTokens)
            json.WriteNumber(entry, id);
        json.WriteEndObject();
        json.WriteStartArray("merges");
        // "a b" strings: every version of the Hugging Face library reads them (pairs came in 0.20). No byte symbol is a space.
        foreach (var (left, right) in tokenizer.Merges)
            json.WriteStringValue($"{left} {right}");
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteConfig(Utf8JsonWriter json, TokenizerJson tokenizer)
    {
        var endOfText = tokenizer.SpecialTokens[0].Entry;
        json.WriteStartObject();
        json.WriteString("tokenizer_class", "PreTrainedTokenizerFast");
        json.WriteString("bos_token", endOfText);
        json.WriteString("eos_token", endOfText);
        json.WriteBoolean("clean_up_tokenization_spaces", false);
        json.WriteString(TokenizerJson.KindKey, tokenizer.Kind);
        json.WriteEndObject();
    }
}
