using Sora.Model.Tokenization.PreSplit;

namespace Sora.Model.Tokenization;

/// <summary>What a <c>tokenizer.json</c> does to text before its model sees it, and after.</summary>
internal sealed class TextParts
{
    /// <summary>SentencePiece's mark for a space.</summary>
    public const string SpaceMark = "\u2581";

    public List<TextNormalizer> Normalizers { get; } = [];

    public List<PreSplitter> Splitters { get; } = [];

    /// <summary>Put before stretches between added tokens.</summary>
    public TextNormalizer? Prefix { get; set; }

    /// <summary>Words are bytes, written with <see cref="ByteSymbols"/>; otherwise characters, with a fallback to bytes.</summary>
    public bool IsByteLevel { get; set; }

    /// <summary>Decoding turns the space mark into a space.</summary>
    public bool DecodesSpaceMark { get; set; }

    /// <summary>Decoding drops one space at the start.</summary>
    public bool StripsLeadingSpace { get; set; }
}

/// <summary>Reads normalizer, pre-tokenizer and decoder. What it does not know it refuses by name.</summary>
internal static class TextPartsReader
{
    public static TextParts Read(JsonPart root)
    {
        var parts = new TextParts();
        ReadNormalizer(root["normalizer"], parts);
        ReadPreTokenizer(root["pre_tokenizer"], parts);
        if (parts.IsByteLevel)
        {
            CheckByteLevelDecoder(root["decoder"]);
            return parts;
        }
        if (!root["model"]["byte_fallback"].Flag())
            throw root["model"].Unsupported("without byte_fallback and without a ByteLevel pre_tokenizer: characters outside the vocabulary would be lost");
        ReadCharacterDecoder(root["decoder"], parts);
        return parts;
    }

    private static void ReadNormalizer(JsonPart normalizer, TextParts parts)
    {
        if (normalizer.IsNull) return;
        switch (normalizer.Type)
        {
            case "Sequence":
                foreach (var item in normalizer["normalizers"].Items())
                    ReadNormalizer(item, parts);
                break;
            case "NFC":
                parts.Normalizers.Add(new CanonicalComposition());
                break;
            case "Replace" when normalizer["pattern"]["String"] is { IsText: true } pattern && pattern.Text.Length > 0:
                parts.Normalizers.Add(new ReplaceNormalizer(pattern.Text, normalizer["content"].Text));
                break;
            case "Prepend":
                parts.Normalizers.Add(new PrefixNormalizer(normalizer["prepend"].Text));
                break;
            default:
                throw normalizer.Unsupported(normalizer.Type);
        }
    }

    private static void ReadPreTokenizer(JsonPart preTokenizer, TextParts parts)
    {
        if (preTokenizer.IsNull) return;
        if (parts.IsByteLevel) throw preTokenizer.Unsupported($"{preTokenizer.Type} after ByteLevel");
        switch (preTokenizer.Type)
        {
            case "Sequence":
                foreach (var item in preTokenizer["pretokenizers"].Items())
                    ReadPreTokenizer(item, parts);
                break;
            case "ByteLevel":
                if (preTokenizer["add_prefix_space"].Flag(ifMissing: true))
                {
                    if (parts.Splitters.Count > 0) throw preTokenizer.Unsupported("ByteLevel with add_prefix_space after another split");
                    parts.Prefix = new PrefixNormalizer(" ", unlessSpace: true);
                }
                if (preTokenizer["use_regex"].Flag(ifMissing: true)) parts.Splitters.Add(new Gpt2Splitter());
                parts.IsByteLevel = true;
                break;
            case "Digits":
                parts.Splitters.Add(new DigitSplitter(preTokenizer["individual_digits"].Flag()));
                break;
            case "Split":
                parts.Splitters.Add(ReadSplit(preTokenizer));
                break;
            case "Metaspace":
                ReadMetaspace(preTokenizer, parts);
                break;
            default:
                throw preTokenizer.Unsupported(preTokenizer.Type);
        }
    }

    private static PreSplitter ReadSplit(JsonPart split)
    {
        var behavior = split["behavior"].Text;
        var invert = split["invert"].Flag();
        var pattern = split["pattern"];
        if (pattern["String"] is { IsText: true } text)
        {
            var join = behavior switch
            {
                "Isolated" => LiteralJoin.Alone,
                "MergedWithPrevious" when !invert => LiteralJoin.Previous,
                "MergedWithNext" when !invert => LiteralJoin.Next,
                _ => throw split.Unsupported($"Split with behavior {behavior}, invert {(invert ? "true" : "false")}"),
            };
            return text.Text.Length > 0 ? new LiteralSplitter(text.Text, join) : throw split.Unsupported("Split on an empty string");
        }
        var regex = pattern["Regex"].Text;
        var known = KnownPattern(regex);
        // The known patterns match every character, so removing what they do not match removes nothing.
        if (behavior != "Isolated" && !(known is not null && behavior == "Removed" && invert))
            throw split.Unsupported($"Split with behavior {behavior}, invert {(invert ? "true" : "false")}");
        return known ?? (RegexSplitter.WhyNot(regex) is { } reason ? throw split.Unsupported($"Split with the pattern {regex} ({reason})") : new RegexSplitter(regex));
    }

    // By the hand-written equal where there is one: they are several times faster.
    private static PreSplitter? KnownPattern(string regex) => regex switch
    {
        Gpt2Splitter.Pattern => new Gpt2Splitter(),
        Cl100kSplitter.Pattern => new Cl100kSplitter(digits: 3, keepsTrailingSpace: true),
        Cl100kSplitter.Llama3Pattern => new Cl100kSplitter(digits: 3, keepsTrailingSpace: false),
        Cl100kSplitter.Qwen2Pattern => new Cl100kSplitter(digits: 1, keepsTrailingSpace: false),
        O200kSplitter.Pattern => new O200kSplitter(),
        _ => null,
    };

    private static void ReadMetaspace(JsonPart metaspace, TextParts parts)
    {
        if (metaspace["replacement"].Text != TextParts.SpaceMark) throw metaspace.Unsupported("Metaspace with another mark than U+2581");
        if (parts.Splitters.Count > 0) throw metaspace.Unsupported("Metaspace after another split");
        // Before 0.15 of the Hugging Face library the scheme was a flag.
        var scheme = metaspace["prepend_scheme"] is { IsText: true } text ? text.Text : metaspace["add_prefix_space"].Flag(ifMissing: true) ? "always" : "never";
        parts.Normalizers.Add(new ReplaceNormalizer(" ", TextParts.SpaceMark));
        parts.Prefix = scheme switch
        {
            "always" => new PrefixNormalizer(TextParts.SpaceMark, unlessThere: true),
            "first" => new PrefixNormalizer(TextParts.SpaceMark, unlessThere: true, onlyAtStart: true),
            "never" => null,
            _ => throw metaspace.Unsupported($"Metaspace with prepend_scheme {scheme}"),
        };
        if (metaspace["split"].Flag(ifMissing: true)) parts.Splitters.Add(new LiteralSplitter(TextParts.SpaceMark, LiteralJoin.Next));
    }

    private static void CheckByteLevelDecoder(JsonPart decoder)
    {
        if (decoder.IsNull) return; // byte symbols decode in one way only
        switch (decoder.Type)
        {
            case "ByteLevel" or "Fuse":
                break;
            case "Sequence":
                foreach (var item in decoder["decoders"].Items())
                    CheckByteLevelDecoder(item);
                break;
            default:
                throw decoder.Unsupported(decoder.Type);
        }
    }

    private static void ReadCharacterDecoder(JsonPart decoder, TextParts parts)
    {
        if (decoder.IsNull) throw decoder.Unsupported("null without a ByteLevel pre_tokenizer");
        switch (decoder.Type)
        {
            case "Sequence":
                foreach (var item in decoder["decoders"].Items())
                    ReadCharacterDecoder(item, parts);
                break;
            case "Replace" when decoder["pattern"]["String"] is { IsText: true, Text: TextParts.SpaceMark } && decoder["content"].Text == " ":
                parts.DecodesSpaceMark = true;
                break;
            case "ByteFallback" or "Fuse":
                break;
            case "Strip" when decoder["content"].Text == " " && decoder["start"].Integer == 1 && decoder["stop"].Integer == 0:
                parts.StripsLeadingSpace = true;
                break;
            case "Metaspace" when decoder["replacement"].Text == TextParts.SpaceMark:
                parts.DecodesSpaceMark = true;
                parts.StripsLeadingSpace = decoder["prepend_scheme"] is { IsText: true } scheme ? scheme.Text != "never" : decoder["add_prefix_space"].Flag(ifMissing: true);
                break;
            default:
                throw decoder.Unsupported(decoder.Type);
        }
    }
}
