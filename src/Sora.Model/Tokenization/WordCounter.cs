using System.Runtime.InteropServices;
using System.Text;
using Sora.Model.Tokenization.PreSplit;

namespace Sora.Model.Tokenization;

/// <summary>Counts pre-split words in a table of bounded size.</summary>
internal static class WordCounter
{
    private const int MostWords = 2_000_000;

    /// <summary>The distinct words as UTF-8.</summary>
    public static IReadOnlyList<(byte[] Word, long Count)> Count(IEnumerable<string> texts, int mostWords = MostWords)
    {
        var counts = new Dictionary<string, long>(StringComparer.Ordinal);
        var lookup = counts.GetAlternateLookup<ReadOnlySpan<char>>();
        var splitter = new Gpt2Splitter();
        foreach (var text in texts)
        {
            for (int start = 0, end; start < text.Length; start = end)
            {
                end = splitter.End(text, start);
                CollectionsMarshal.GetValueRefOrAddDefault(lookup, text.AsSpan(start, end - start), out _)++;
            }
            // Rare words decide no merge: at the bound, drop those seen once, then twice, and so on until half the table is free.
            for (var rare = 1L; counts.Count > mostWords; rare++)
                Drop(counts, rare, keep: mostWords / 2);
        }
        return [.. counts.Select(entry => (Encoding.UTF8.GetBytes(entry.Key), entry.Value))];
    }

    private static void Drop(Dictionary<string, long> counts, long rare, int keep)
    {
        foreach (var word in counts.Where(entry => entry.Value <= rare).Select(entry => entry.Key).ToList())
        {
            if (counts.Count <= keep) return;
            counts.Remove(word);
        }
    }
}
