using System.Text.Json.Nodes;
using CsCheck;
using Sora.Model.Tokenization;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Tokenization.HuggingFace;

public sealed class TokenizerJsonReaderTests : IDisposable
{
    private const string Llama3Split =
        """{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]}""";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Merges_may_be_strings_or_pairs()
    {
        var strings = Load(Gpt2Style());
        var pairs = Load(Gpt2Style(json => json["model"]!["merges"] = JsonNode.Parse("""[["l","o"],["lo","w"],["Ġ","low"],["e","r"]]""")));
        Assert.Equal([" low", "er", "low"], Pieces(strings, " lowerlow"[..6] + "low"));
        RandomText.Any.Sample(text => Assert.Equal(strings.Encode(text), pairs.Encode(text)), iter: 200);
    }

    [Fact]
    public void Merges_apply_in_their_order_not_from_left_to_right()
    {
        var tokenizer = Load(Gpt2Style(json =>
        {
            Add(json, "bc", "ab");
            json["model"]!["merges"] = new JsonArray("b c", "a b");
        }));
        Assert.Equal(["a", "bc"], Pieces(tokenizer, "abc"));
    }

    [Fact]
    public void IgnoreMerges_takes_a_word_that_is_an_entry_whole()
    {
        var json = Gpt2Style(json => Add(json, "wolf"));
        Assert.Equal(["w", "o", "l", "f"], Pieces(Load(json), "wolf"));
        json["model"]!["ignore_merges"] = true;
        Assert.Equal(["wolf"], Pieces(Load(json), "wolf"));
    }

    [Fact]
    public void A_split_before_the_byte_level_decides_the_words()
    {
        var json = Gpt2Style(json => Add(json, "1234", "!\u010A"));
        json["model"]!["ignore_merges"] = true;
        Assert.Equal(["1234", "!", "\n"], Pieces(Load(json), "1234!\n"));
        json["pre_tokenizer"] = JsonNode.Parse(Llama3Split);
        Assert.Equal(["1", "2", "3", "4", "!\n"], Pieces(Load(json), "1234!\n"));
    }

    [Fact]
    public void Added_tokens_are_found_in_the_text_unless_they_are_special()
    {
        var tokenizer = Load(Gpt2Style(json => json["added_tokens"] = JsonNode.Parse(
            """
            [{"id":300,"content":"<|endoftext|>","special":true},{"id":301,"content":"  ","special":false,"normalized":true},
             {"id":302,"content":"   ","special":false,"normalized":true},{"id":303,"content":"<tool>","special":false,"normalized":false}]
            """)));
        Assert.Equal(300, tokenizer.EndOfText);
        Assert.Equal(304, tokenizer.VocabSize);
        Assert.Equal(["a", "   ", "b", "<tool>", "  ", "low"], Pieces(tokenizer, "a   b<tool>  low"));
        Assert.DoesNotContain(300, tokenizer.Encode("<|endoftext|>"));
        RandomText.Any.Sample(text => Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text))), iter: 300);
    }

    [Fact]
    public void Nfc_composes_before_splitting()
    {
        var tokenizer = Load(Gpt2Style(json => json["normalizer"] = JsonNode.Parse("""{"type":"NFC"}""")));
        Assert.Equal("caf\u00E9", tokenizer.Decode(tokenizer.Encode("cafe\u0301")));
    }

    [Fact]
    public void AddPrefixSpace_puts_one_before_text_that_has_none()
    {
        var tokenizer = Load(Gpt2Style(json => json["pre_tokenizer"]!["add_prefix_space"] = true));
        Assert.Equal([" low"], Pieces(tokenizer, "low"));
        Assert.Equal([" low"], Pieces(tokenizer, " low"));
        Assert.Empty(tokenizer.Encode(""));
    }

    [Fact]
    public void Digits_may_stand_alone()
    {
        var json = Gpt2Style(json => Add(json, "12"));
        json["model"]!["ignore_merges"] = true;
        json["pre_tokenizer"] = JsonNode.Parse(
            """{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}]}""");
        Assert.Equal(["1", "2"], Pieces(Load(json), "12"));
    }

    [Fact]
    public void SentencePiece_style_marks_spaces_and_falls_back_to_bytes()
    {
        var tokenizer = Load(LlamaStyle());
        Assert.Equal([" low", " ", " low", "e", "r"], Pieces(tokenizer, "low  lower"));
        Assert.Equal(4, tokenizer.Encode("\u4F60").Length);
        Assert.Equal("\u4F60", tokenizer.Decode(tokenizer.Encode("\u4F60")));
        Assert.Equal(2, tokenizer.EndOfText);
    }

    [Fact]
    public void SentencePiece_style_text_comes_back()
    {
        // U+2581 itself stands for a space in such a vocabulary.
        var tokenizer = Load(LlamaStyle());
        RandomText.Any.Where(text => !text.Contains('\u2581')).Sample(text => Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text))), iter: 300);
    }

    [Fact]
    public void SentencePiece_style_words_do_not_change_the_ids()
    {
        // An entry with a space inside forbids to cut the text into words; where no text has that pair, the ids are the same.
        var words = Load(LlamaStyle());
        var whole = Load(LlamaStyle(json =>
        {
            Add(json, "q\u2581");
            json["model"]!["merges"]!.AsArray().Add("q \u2581");
        }));
        Gen.OneOfConst("low", "er", " ", "  ", "l", "o", "w", "\u4F60").Array[0, 60].Select(string.Concat)
            .Sample(text => Assert.Equal(words.Encode(text), whole.Encode(text)));
    }

    [Fact]
    public void A_metaspace_pre_tokenizer_does_what_the_normalizers_did()
    {
        var json = LlamaStyle();
        var old = Load(json);
        json["normalizer"] = null;
        json["pre_tokenizer"] = JsonNode.Parse("""{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false}""");
        Assert.Equal(old.Encode("low  lower"), Load(json).Encode("low  lower"));
    }

    [Theory]
    [InlineData("""{"eos_token":"low"}""", "low")]
    [InlineData("""{"eos_token":{"content":"er"}}""", "er")]
    [InlineData("""{"eos_token":null}""", "<|endoftext|>")]
    public void EndOfText_IsTheConfigurationsEosToken(string config, string entry)
    {
        var json = Gpt2Style();
        _folder.Write("tokenizer_config.json", config);
        Assert.Equal(json["model"]!["vocab"]![entry]!.GetValue<int>(), Load(json).EndOfText);
    }

    [Fact]
    public void Save_WritesTheFilesAsTheyWere()
    {
        var text = "\n" + Gpt2Style().ToJsonString() + "\n\n";
        _folder.Write("tokenizer.json", text);
        _folder.Write("tokenizer_config.json", """{ "eos_token":   "<|endoftext|>", "chat_template": "x" }""");
        using var other = new TemporaryFolder();
        TokenizerFiles.Load(_folder.Path).Save(other.Path);
        foreach (var name in new[] { "tokenizer.json", "tokenizer_config.json" })
            Assert.Equal(File.ReadAllBytes(Path.Combine(_folder.Path, name)), File.ReadAllBytes(Path.Combine(other.Path, name)));
    }

    [Fact]
    public void Load_TheFileItself_IsTheSame()
    {
        Load(Gpt2Style());
        var file = Path.Combine(_folder.Path, "tokenizer.json");
        Assert.Equal("file", TokenizerFiles.Create(new TokenizerSettings { Type = TokenizerKind.File, Path = file }, () => [], TestContext.Current.CancellationToken).Kind);
    }

    [Theory]
    [InlineData("model.type", "\"Unigram\"", "Unigram")]
    [InlineData("model.type", "\"WordPiece\"", "WordPiece")]
    [InlineData("model.dropout", "0.1", "dropout")]
    [InlineData("model.end_of_word_suffix", "\"</w>\"", "end_of_word_suffix")]
    [InlineData("model.continuing_subword_prefix", "\"##\"", "continuing_subword_prefix")]
    [InlineData("normalizer", """{"type":"NFKC"}""", "NFKC")]
    [InlineData("normalizer", """{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Lowercase"}]}""", "normalizer.normalizers[1] Lowercase")]
    [InlineData("pre_tokenizer", """{"type":"Whitespace"}""", "Whitespace")]
    [InlineData("pre_tokenizer", """{"type":"Split","pattern":{"Regex":"\\p{Han}+"},"behavior":"Isolated","invert":false}""", "Han")]
    [InlineData("pre_tokenizer", """{"type":"Split","pattern":{"Regex":"\\s+"},"behavior":"Removed","invert":false}""", "Removed")]
    [InlineData("pre_tokenizer", "null", "byte_fallback")]
    [InlineData("decoder", """{"type":"WordPiece"}""", "WordPiece")]
    [InlineData("added_tokens", """[{"id":400,"content":"<x>","special":false,"lstrip":true}]""", "lstrip")]
    public void Load_WhatCannotBeReproduced_IsRefusedByName(string path, string value, string named)
    {
        var error = Assert.Throws<SoraException>(() => Load(Gpt2Style(json => Set(json, path, value))));
        Assert.Equal(ExitCode.InvalidInput, error.ExitCode);
        Assert.Contains(named, error.Message);
        Assert.Contains("tokenizer.json", error.Message);
        Assert.Contains("Use ", error.Message);
    }

    [Theory]
    [InlineData("model", "null", "model is missing")]
    [InlineData("model.vocab", "null", "model.vocab")]
    [InlineData("model.vocab", "{}", "model.vocab")]
    [InlineData("model.vocab", """{"a":"zero"}""", "model.vocab.\"a\" must be a whole number")]
    [InlineData("model.vocab", """{"a":-1}""", "model.vocab.\"a\"")]
    [InlineData("model.vocab", """{"a":99999999999}""", "model.vocab.\"a\"")]
    [InlineData("model.merges", "null", "model.merges is missing")]
    [InlineData("model.merges", """["l o","lo w x"]""", "model.merges[1]")]
    [InlineData("model.merges", """["l o","z z"]""", "model.merges[1]")]
    [InlineData("model.merges", "[17]", "model.merges[0]")]
    [InlineData("model.byte_fallback", "\"yes\"", "model.byte_fallback", true)]
    [InlineData("added_tokens", """[{"id":"x","content":"y"}]""", "added_tokens[0].id")]
    [InlineData("pre_tokenizer", """{"kind":"ByteLevel"}""", "pre_tokenizer.type is missing")]
    public void Load_DamagedFile_SaysWhere(string path, string value, string named, bool llama = false)
    {
        var error = Assert.Throws<SoraException>(() => Load(llama ? LlamaStyle(json => Set(json, path, value)) : Gpt2Style(json => Set(json, path, value))));
        Assert.Equal(ExitCode.InvalidInput, error.ExitCode);
        Assert.Contains(named, error.Message);
        Assert.Contains("tokenizer.json", error.Message);
    }

    [Theory]
    [InlineData("")]
    [InlineData("{")]
    [InlineData("[]")]
    [InlineData("not json")]
    public void Load_NoJsonObject_SaysSo(string text)
    {
        var file = _folder.Write("tokenizer.json", text);
        var error = Assert.Throws<SoraException>(() => TokenizerFiles.Load(_folder.Path));
        Assert.Equal(ExitCode.InvalidInput, error.ExitCode);
        Assert.Contains(file, error.Message);
    }

    [Fact]
    public void Load_DamagedConfiguration_NamesThatFile()
    {
        var file = _folder.Write("tokenizer_config.json", "{");
        Assert.Contains(file, Assert.Throws<SoraException>(() => Load(Gpt2Style())).Message);
    }

    [Fact]
    public void Load_NoFile_SaysSo() => Assert.Equal(ExitCode.InvalidInput, Assert.Throws<SoraException>(() => TokenizerFiles.Load(_folder.Path)).ExitCode);

    [Fact]
    public void Load_NoEndOfText_SaysWhatToAdd()
    {
        var json = Gpt2Style(json =>
        {
            json["added_tokens"] = new JsonArray();
            json["model"]!["vocab"]!.AsObject().Remove("<|endoftext|>");
        });
        Assert.Contains("eos_token", Assert.Throws<SoraException>(() => Load(json)).Message);
    }

    [Fact]
    public void Load_VocabularyWithoutAByte_IsRefused()
    {
        var error = Assert.Throws<SoraException>(() => Load(Gpt2Style(json => json["model"]!["vocab"]!.AsObject().Remove("z"))));
        Assert.Contains("\"z\"", error.Message);
    }

    private ITokenizer Load(JsonObject json)
    {
        _folder.Write("tokenizer.json", json.ToJsonString());
        return TokenizerFiles.Load(_folder.Path);
    }

    private static string[] Pieces(ITokenizer tokenizer, string text) => [.. tokenizer.Encode(text).Select(id => Piece(tokenizer, id))];

    // With an id before it, so that nothing is stripped from the start.
    private static string Piece(ITokenizer tokenizer, int id)
    {
        var before = tokenizer.Encode("x")[^1];
        return tokenizer.Decode([before, id])[tokenizer.Decode([before]).Length..];
    }

    private static JsonObject Gpt2Style(Action<JsonObject>? change = null)
    {
        var json = JsonNode.Parse("""
            {"version":"1.0","added_tokens":[{"id":260,"content":"<|endoftext|>","special":true}],"normalizer":null,
             "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true},"post_processor":null,"decoder":{"type":"ByteLevel"},
             "model":{"type":"BPE","dropout":null,"unk_token":null,"vocab":{},"merges":["l o","lo w","Ġ low","e r"]}}
            """)!.AsObject();
        Add(json, [.. Enumerable.Range(0, 256).Select(value => ByteSymbols.Symbol((byte)value).ToString()), "lo", "low", "\u0120low", "er", "<|endoftext|>"]);
        change?.Invoke(json);
        return json;
    }

    private static JsonObject LlamaStyle(Action<JsonObject>? change = null)
    {
        var json = JsonNode.Parse("""
            {"version":"1.0","added_tokens":[{"id":0,"content":"<unk>","special":true},{"id":1,"content":"<s>","special":true},{"id":2,"content":"</s>","special":true}],
             "normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},
             "pre_tokenizer":null,"post_processor":null,
             "decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},
              {"type":"Strip","content":" ","start":1,"stop":0}]},
             "model":{"type":"BPE","dropout":null,"unk_token":"<unk>","fuse_unk":true,"byte_fallback":true,"vocab":{"<unk>":0,"<s>":1,"</s>":2},
              "merges":["l o","lo w","▁ low"]}}
            """)!.AsObject();
        Add(json, [.. Enumerable.Range(0, 256).Select(value => $"<0x{value:X2}>"), "\u2581", "l", "o", "w", "e", "r", "q", "lo", "low", "\u2581low"]);
        change?.Invoke(json);
        return json;
    }

    private static void Add(JsonObject json, params string[] entries)
    {
        var vocab = json["model"]!["vocab"]!.AsObject();
        foreach (var entry in entries)
            vocab[entry] = vocab.Count;
    }

    private static void Set(JsonObject json, string path, string value)
    {
        var names = path.Split('.');
        var parent = names.Length == 1 ? json : json[names[0]]!.AsObject();
        parent[names[^1]] = JsonNode.Parse(value);
    }
}
