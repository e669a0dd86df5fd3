using System.Globalization;
using System.Text;
using Sora.Model.Tokenization.PreSplit;

namespace Sora.Model.Tokenization;

/// <summary>Reads a Hugging Face <c>tokenizer.json</c> with a BPE model.</summary>
internal static class TokenizerJsonReader
{
    // An id decides how many rows the embedding has; a damaged one must not ask for terabytes.
    private const int MostIds = 1 << 24;

    private static readonly string[] UsualEndOfText = [TokenizerJson.EndOfTextToken, "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>", "<|eot_id|>"];

    /// <summary>Reads the two files. <paramref name="file"/> names the first in messages.</summary>
    public static ITokenizer Read(TokenizerFileBytes files, string file)
    {
        var configFile = Path.Combine(Path.GetDirectoryName(file) ?? "", TokenizerJson.ConfigFileName);
        var config = files.Config is null ? default : JsonPart.Parse(files.Config, configFile);
        var kind = config.IsObject && config[TokenizerJson.KindKey] is { IsText: true } part ? part.Text : "file";
        return kind switch
        {
            "byte" => new ByteTokenizer(),
            OpenAiTokenizer.O200k or OpenAiTokenizer.Cl100k => OpenAiTokenizer.Create(kind),
            _ => ReadBpe(files, kind == "bpe" ? kind : "file", JsonPart.Parse(files.Tokenizer, file), config),
        };
    }

    private static BpeTokenizer ReadBpe(TokenizerFileBytes files, string kind, JsonPart root, JsonPart config)
    {
        var model = root["model"];
        CheckModel(model);
        var text = TextPartsReader.Read(root);
        var vocab = ReadVocab(model["vocab"]);
        var merges = ReadMerges(model["merges"], vocab, text);
        var added = root["added_tokens"].Items().Select(AddedToken.Read).ToList();
        foreach (var token in added)
            vocab[token.Content] = token.Id;

        var hidden = added.Where(token => token.IsSpecial).Select(token => token.Id).ToHashSet();
        var endOfText = FindEndOfText(root, config, vocab);
        hidden.Add(endOfText);
        var ordinary = vocab.Where(entry => !hidden.Contains(entry.Value));
        return new BpeTokenizer(new BpeTokenizerParts
        {
            Kind = kind,
            Model = new BytePairModel(merges, ReadByteIds(model, vocab, text.IsByteLevel), EntriesByBytes(ordinary, text), text.IsByteLevel, model["ignore_merges"].Flag()),
            Bytes = BytesById(ordinary, vocab.Values.Max() + 1, added, text),
            EndOfText = endOfText,
            Splitters = text.Splitters,
            Normalizers = text.Normalizers,
            Prefix = text.Prefix,
            AddedTokens = Searched(added.Where(token => !token.IsNormalized)),
            NormalizedAddedTokens = Searched(added.Where(token => token.IsNormalized), text.Normalizers),
            StripsLeadingSpace = text.StripsLeadingSpace,
            Save = files.Save,
        });
    }

    private static void CheckModel(JsonPart model)
    {
        if (!model.IsObject) throw model.Malformed("must be an object");
        // Files from before the type was written are BPE when they have merges.
        var type = model["type"] is { IsText: true } text ? text.Text : model["merges"].IsArray ? "BPE" : throw model["type"].Malformed("must be a string");
        if (type != "BPE") throw model.Unsupported($"type {type}");
        if (!model["dropout"].IsNull && model["dropout"].Number != 0) throw model.Unsupported("with dropout");
        foreach (var name in new[] { "continuing_subword_prefix", "end_of_word_suffix" })
        {
            if (model[name] is { IsText: true, Text.Length: > 0 }) throw model.Unsupported($"with {name}");
        }
    }

    private static Dictionary<string, int> ReadVocab(JsonPart part)
    {
        var vocab = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var (entry, value) in part.Members())
        {
            var id = value.Integer;
            if (id is < 0 or >= MostIds) throw value.Malformed($"is {id}, not an id between 0 and {MostIds - 1}");
            vocab[entry] = id;
        }
        return vocab.Count > 0 ? vocab : throw part.Malformed("is empty");
    }

    private static MergeTable ReadMerges(JsonPart part, Dictionary<string, int> vocab, TextParts text)
    {
        if (!part.IsArray) throw part.Malformed("must be an array");
        var merges = new MergeTable(part.Items().Count());
        var rank = 0;
        var crossesSpaceMark = false;
        foreach (var item in part.Items())
        {
            var pair = item.IsText ? item.Text.Split(' ') : [.. item.Items().Select(side => side.Text)];
            if (pair.Length != 2) throw item.Malformed("must be two entries: \"a b\" or [\"a\", \"b\"]");
            var merged = pair[0] + pair[1];
            if (!vocab.TryGetValue(pair[0], out var left) || !vocab.TryGetValue(pair[1], out var right) || !vocab.TryGetValue(merged, out var id))
                throw item.Malformed($"merges \"{pair[0]}\" and \"{pair[1]}\", but they and \"{merged}\" are not all in model.vocab");
            merges.Add(left, right, rank++, id);
            crossesSpaceMark |= SpaceMarkSplitter.IsCrossedBy(merged);
        }
        // Without this, a whole document would be one word.
        if (!text.IsByteLevel && text.Splitters.Count == 0 && !crossesSpaceMark) text.Splitters.Add(new SpaceMarkSplitter());
        return merges;
    }

    private static int[] ReadByteIds(JsonPart model, Dictionary<string, int> vocab, bool isByteLevel)
    {
        var ids = new int[256];
        for (var value = 0; value < ids.Length; value++)
        {
            var entry = isByteLevel ? ByteSymbols.Symbol((byte)value).ToString() : string.Create(CultureInfo.InvariantCulture, $"<0x{value:X2}>");
            if (!vocab.TryGetValue(entry, out ids[value]))
                throw model["vocab"].Unsupported($"without the entry \"{entry}\" for the byte {value}: text with it would be lost");
        }
        return ids;
    }

    private static int FindEndOfText(JsonPart root, JsonPart config, Dictionary<string, int> vocab)
    {
        var eos = config.IsObject ? config["eos_token"] : default;
        if (eos.IsObject) eos = eos["content"];
        if (!eos.IsNull) return vocab.TryGetValue(eos.Text, out var id) ? id : throw eos.Malformed($"is \"{eos.Text}\", which the vocabulary does not have");
        foreach (var usual in UsualEndOfText)
        {
            if (vocab.TryGetValue(usual, out var id)) return id;
        }
        throw root["added_tokens"].Malformed(
            $"names no end-of-text token, and {TokenizerJson.ConfigFileName} beside it has no \"eos_token\": add one there");
    }

    private static Dictionary<byte[], int> EntriesByBytes(IEnumerable<KeyValuePair<string, int>> vocab, TextParts text)
    {
        var entries = new Dictionary<byte[], int>(ByteSequenceComparer.Instance);
        foreach (var (entry, id) in vocab)
        {
            if (!text.IsByteLevel)
                entries[Encoding.UTF8.GetBytes(entry)] = id;
            else if (ByteSymbols.TryRead(entry, out var bytes))
                entries[bytes] = id;
        }
        return entries;
    }

    private static byte[][] BytesById(IEnumerable<KeyValuePair<string, int>> vocab, int count, IReadOnlyList<AddedToken> added, TextParts text)
    {
        var verbatim = added.Select(token => token.Id).ToHashSet();
        var byId = new byte[count][];
        Array.Fill(byId, []);
        foreach (var (entry, id) in vocab)
        {
            if (text.IsByteLevel)
                byId[id] = !verbatim.Contains(id) && ByteSymbols.TryRead(entry, out var bytes) ? bytes : Encoding.UTF8.GetBytes(entry);
            else if (entry.Length == 6 && entry.StartsWith("<0x", StringComparison.Ordinal) && entry[5] == '>'
                && byte.TryParse(entry.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value))
                byId[id] = [value];
            else
                byId[id] = Encoding.UTF8.GetBytes(text.DecodesSpaceMark ? entry.Replace(TextParts.SpaceMark, " ", StringComparison.Ordinal) : entry);
        }
        return byId;
    }

    private static AddedTokens? Searched(IEnumerable<AddedToken> tokens, IReadOnlyList<TextNormalizer>? normalizers = null)
    {
        // Special tokens are not looked for: in a corpus they are ordinary text.
        var searched = tokens.Where(token => !token.IsSpecial).ToList();
        foreach (var token in searched)
            token.CheckSearchable(normalizers ?? []);
        return searched.Count > 0 ? new AddedTokens(searched.Select(token => (token.Content, token.Id))) : null;
    }

    private sealed record AddedToken(JsonPart Part, string Content, int Id, bool IsSpecial, bool IsNormalized)
    {
        public static AddedToken Read(JsonPart part)
        {
            var (content, id) = (part["content"].Text, part["id"].Integer);
            if (content.Length == 0) throw part["content"].Malformed("must not be empty");
            if (id is < 0 or >= MostIds) throw part["id"].Malformed($"is {id}, not an id between 0 and {MostIds - 1}");
            var isSpecial = part["special"].Flag();
            return new AddedToken(part, content, id, isSpecial, part["normalized"].Flag(ifMissing: !isSpecial));
        }

        public void CheckSearchable(IReadOnlyList<TextNormalizer> normalizers)
        {
            foreach (var name in new[] { "single_word", "lstrip", "rstrip" })
            {
                if (Part[name].Flag()) throw Part.Unsupported($"with {name}");
            }
            if (normalizers.Any(normalizer => normalizer.TryNormalize(Content, true, out _))) throw Part.Unsupported("normalized, with a normalizer that changes it");
        }
    }
}
