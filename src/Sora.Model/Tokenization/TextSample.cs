namespace Sora.Model.Tokenization;

/// <summary>An even sample of documents in bounded memory, without knowing beforehand how much there is.</summary>
internal static class TextSample
{
    // Documents are cut so that one huge file is sampled as evenly as many small ones.
    private const int PieceLength = 1 << 16;

    /// <summary>
    /// Keeps every piece until they exceed the wanted size, then every second one, then every fourth, and so on: what is left at the end is
    /// evenly spread over all that was read, the same each time.
    /// </summary>
    public static IReadOnlyList<string> Draw(IEnumerable<string> documents, long wanted, long scanned, CancellationToken cancellationToken = default)
    {
        var kept = new List<string>();
        long keptLength = 0, read = 0, piece = 0, stride = 1;
        foreach (var document in documents)
        {
            cancellationToken.ThrowIfCancellationRequested();
            for (int start = 0, end; start < document.Length; start = end)
            {
                end = PieceEnd(document, start);
                if (piece++ % stride != 0) continue;
                kept.Add(start == 0 && end == document.Length ? document : document[start..end]);
                keptLength += end - start;
                if (keptLength <= wanted || kept.Count < 2) continue;
                kept = [.. kept.Where((_, index) => index % 2 == 0)];
                keptLength = kept.Sum(text => (long)text.Length);
                stride *= 2;
            }
            read += document.Length;
            if (read >= scanned) break;
        }
        return kept;
    }

    // At a space or a line end where there is one, so that no word is cut.
    private static int PieceEnd(string document, int start)
    {
        if (document.Length - start <= PieceLength) return document.Length;
        var space = document.AsSpan(start + 1, PieceLength - 1).LastIndexOfAny(' ', '\n');
        return space >= 0 ? start + 1 + space : start + PieceLength;
    }
}
