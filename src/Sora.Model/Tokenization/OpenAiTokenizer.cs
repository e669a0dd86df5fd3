using System.Globalization;
using System.IO.Compression;
using System.Reflection;
using System.Text;
using Sora.Model.Tokenization.PreSplit;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tokenization;

/// <summary>OpenAI's o200k_base and cl100k_base, from the ranks in Microsoft.ML.Tokenizers' data packages.</summary>
internal static class OpenAiTokenizer
{
    public const string O200k = "o200k";
    public const string Cl100k = "cl100k";

    private static readonly OpenAiEncoding O200kBase = new(
        O200k, "Microsoft.ML.Tokenizers.Data.O200kBase", "o200k_base.tiktoken.deflate", new O200kSplitter(), O200kSplitter.Pattern,
        [(TokenizerJson.EndOfTextToken, 199999), ("<|endofprompt|>", 200018)]);

    private static readonly OpenAiEncoding Cl100kBase = new(
        Cl100k, "Microsoft.ML.Tokenizers.Data.Cl100kBase", "cl100k_base.tiktoken.deflate", new Cl100kSplitter(digits: 3, keepsTrailingSpace: true), Cl100kSplitter.Pattern,
        [(TokenizerJson.EndOfTextToken, 100257), ("<|fim_prefix|>", 100258), ("<|fim_middle|>", 100259), ("<|fim_suffix|>", 100260), ("<|endofprompt|>", 100276)]);

    /// <summary>The tokenizer of a kind.</summary>
    public static ITokenizer Create(string kind)
    {
        var encoding = kind == O200k ? O200kBase : Cl100kBase;
        var tokens = ReadRanks(encoding);
        var entries = new Dictionary<byte[], int>(tokens.Count, ByteSequenceComparer.Instance);
        var bytes = new byte[encoding.SpecialTokens.Max(token => token.Id) + 1][];
        Array.Fill(bytes, []);
        foreach (var (token, id) in tokens)
        {
            entries.Add(token, id);
            bytes[id] = token;
        }
        var byteIds = Enumerable.Range(0, 256).Select(value => entries[[(byte)value]]).ToArray();
        var splits = Splits(tokens, entries);
        var merges = new MergeTable(splits.Count);
        foreach (var (left, right, merged) in splits)
            merges.Add(left, right, merged, merged);
        return new BpeTokenizer(new BpeTokenizerParts
        {
            Kind = kind,
            Model = new BytePairModel(merges, byteIds, entries, symbolsAreBytes: true, ignoreMerges: true),
            Bytes = bytes,
            EndOfText = encoding.SpecialTokens[0].Id,
            Splitters = [encoding.Splitter],
            Save = folder => TokenizerJsonWriter.Write(ToJson(encoding, tokens, splits)).Save(folder),
        });
    }

    /// <summary>
    /// tiktoken has no merges, only ranks: two neighbours merge when together they are a token, and its rank is the order. As merges, that is
    /// every cut of every token into two tokens, with the rank of the token.
    /// </summary>
    private static List<(int Left, int Right, int Merged)> Splits(IReadOnlyList<(byte[] Token, int Id)> tokens, Dictionary<byte[], int> entries)
    {
        var lookup = entries.GetAlternateLookup<ReadOnlySpan<byte>>();
        var splits = new List<(int Left, int Right, int Merged)>(tokens.Count * 3);
        foreach (var (token, id) in tokens)
        {
            for (var cut = 1; cut < token.Length; cut++)
            {
                if (lookup.TryGetValue(token.AsSpan(0, cut), out var left) && lookup.TryGetValue(token.AsSpan(cut), out var right)) splits.Add((left, right, id));
            }
        }
        return splits;
    }

    private static TokenizerJson ToJson(OpenAiEncoding encoding, IReadOnlyList<(byte[] Token, int Id)> tokens, IReadOnlyList<(int Left, int Right, int Merged)> splits)
    {
        // The order Hugging Face's converter writes, too.
        var inOrder = splits.OrderBy(split => split.Merged).ThenBy(split => split.Left).ThenBy(split => split.Right);
        var names = tokens.ToDictionary(token => token.Id, token => ByteSymbols.Write(token.Token));
        return new TokenizerJson(
            encoding.Kind,
            [.. tokens.Select(token => (names[token.Id], token.Id))],
            [.. inOrder.Select(split => (names[split.Left], names[split.Right]))],
            encoding.SpecialTokens,
            encoding.Pattern,
            IgnoreMerges: true);
    }

    // The library keeps the ranks to itself, but the package they are in is plain data: a line with the
    // capacity, then each token in base64, in order of rank (a package of another version may put the rank after it).
    private static List<(byte[] Token, int Id)> ReadRanks(OpenAiEncoding encoding)
    {
        using var resource = Assembly.Load(encoding.Assembly).GetManifestResourceStream(encoding.Resource)
            ?? throw new SoraException($"The package {encoding.Assembly} holds no {encoding.Resource}. Use the version this program was built with.");
        using var reader = new StreamReader(new DeflateStream(resource, CompressionMode.Decompress), Encoding.ASCII);
        var tokens = new List<(byte[], int)>(200_000);
        while (reader.ReadLine() is { } line)
        {
            if (line.Length == 0 || line.StartsWith("Capacity", StringComparison.Ordinal)) continue;
            var space = line.IndexOf(' ');
            tokens.Add((Convert.FromBase64String(space < 0 ? line : line[..space]), space < 0 ? tokens.Count : int.Parse(line.AsSpan(space + 1), CultureInfo.InvariantCulture)));
        }
        return tokens;
    }

    private sealed record OpenAiEncoding(
        string Kind, string Assembly, string Resource, PreSplitter Splitter, string Pattern, (string Entry, int Id)[] SpecialTokens);
}
