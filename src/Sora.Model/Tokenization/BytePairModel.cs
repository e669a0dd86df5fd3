using System.Buffers;
using System.Text;

namespace Sora.Model.Tokenization;

/// <summary>Byte-pair encoding (Gage 1994; Sennrich et al. 2016) of one pre-split word: its symbols, merged lowest rank first, leftmost first.</summary>
internal sealed class BytePairModel
{
    // Above this many symbols the quadratic merge loop loses to the heap.
    private const int LongWord = 96;

    private readonly MergeTable _merges;
    private readonly int[] _byteIds;
    private readonly Dictionary<byte[], int>.AlternateLookup<ReadOnlySpan<byte>> _entries;
    private readonly bool _symbolsAreBytes;
    private readonly bool _ignoreMerges;

    /// <param name="merges">The merges.</param>
    /// <param name="byteIds">The id of each byte.</param>
    /// <param name="entries">Ids by the bytes they stand for; created with <see cref="ByteSequenceComparer"/>.</param>
    /// <param name="symbolsAreBytes">A word starts as bytes (byte-level) or as characters, with bytes for those not in the vocabulary.</param>
    /// <param name="ignoreMerges">A word that is an entry is that token, whatever the merges say.</param>
    public BytePairModel(MergeTable merges, int[] byteIds, Dictionary<byte[], int> entries, bool symbolsAreBytes, bool ignoreMerges)
    {
        _merges = merges;
        _byteIds = byteIds;
        _entries = entries.GetAlternateLookup<ReadOnlySpan<byte>>();
        _symbolsAreBytes = symbolsAreBytes;
        _ignoreMerges = ignoreMerges;
    }

    /// <summary>Encodes one word given as UTF-8; <paramref name="ids"/> holds at least as many. Returns how many ids it became.</summary>
    public int Encode(ReadOnlySpan<byte> word, Span<int> ids)
    {
        if (_ignoreMerges && _entries.TryGetValue(word, out var whole))
        {
            ids[0] = whole;
            return 1;
        }
        var count = _symbolsAreBytes ? ToBytes(word, ids) : ToCharacters(word, ids);
        return count <= LongWord ? MergeShort(ids[..count]) : MergeLong(ids[..count]);
    }

    private int ToBytes(ReadOnlySpan<byte> word, Span<int> ids)
    {
        for (var i = 0; i < word.Length; i++)
            ids[i] = _byteIds[word[i]];
        return word.Length;
    }

    private int ToCharacters(ReadOnlySpan<byte> word, Span<int> ids)
    {
        var count = 0;
        while (!word.IsEmpty)
        {
            Rune.DecodeFromUtf8(word, out _, out var width);
            if (_entries.TryGetValue(word[..width], out var id))
                ids[count++] = id;
            else
                count += ToBytes(word[..width], ids[count..]);
            word = word[width..];
        }
        return count;
    }

    private int MergeShort(Span<int> ids)
    {
        var count = ids.Length;
        if (count < 2) return count;
        Span<ulong> merges = stackalloc ulong[count - 1]; // merges[i] is that of ids[i] and ids[i + 1]
        for (var i = 0; i < merges.Length; i++)
            merges[i] = _merges.Find(ids[i], ids[i + 1]);
        while (count > 1)
        {
            var at = 0;
            for (var i = 1; i < count - 1; i++)
            {
                if (merges[i] < merges[at]) at = i;
            }
            if (merges[at] == MergeTable.None) break;
            ids[at] = (int)(uint)merges[at];
            ids[(at + 2)..count].CopyTo(ids[(at + 1)..]);
            merges[(at + 1)..(count - 1)].CopyTo(merges[at..]);
            count--;
            if (at > 0) merges[at - 1] = _merges.Find(ids[at - 1], ids[at]);
            if (at < count - 1) merges[at] = _merges.Find(ids[at], ids[at + 1]);
        }
        return count;
    }

    private int MergeLong(Span<int> ids)
    {
        var next = ArrayPool<int>.Shared.Rent(ids.Length);
        var previous = ArrayPool<int>.Shared.Rent(ids.Length);
        try
        {
            for (var i = 0; i < ids.Length; i++)
                (previous[i], next[i]) = (i - 1, i + 1);
            var queue = new PriorityQueue<Candidate, (ulong Merge, int At)>(ids.Length);
            for (var i = 0; i + 1 < ids.Length; i++)
                Offer(queue, ids, i, i + 1);
            while (queue.TryDequeue(out var pair, out _))
            {
                // A pair is stale when one side has been merged since; a symbol that is gone has id -1.
                if (ids[pair.At] != pair.Left || next[pair.At] >= ids.Length || ids[next[pair.At]] != pair.Right) continue;
                var right = next[pair.At];
                ids[pair.At] = (int)(uint)_merges.Find(pair.Left, pair.Right);
                ids[right] = -1;
                next[pair.At] = next[right];
                if (next[right] < ids.Length)
                {
                    previous[next[right]] = pair.At;
                    Offer(queue, ids, pair.At, next[right]);
                }
                if (previous[pair.At] >= 0) Offer(queue, ids, previous[pair.At], pair.At);
            }
            var count = 0;
            for (var i = 0; i < ids.Length; i = next[i])
                ids[count++] = ids[i];
            return count;
        }
        finally
        {
            ArrayPool<int>.Shared.Return(next);
            ArrayPool<int>.Shared.Return(previous);
        }
    }

    private void Offer(PriorityQueue<Candidate, (ulong, int)> queue, Span<int> ids, int at, int right)
    {
        var merge = _merges.Find(ids[at], ids[right]);
        if (merge != MergeTable.None) queue.Enqueue(new Candidate(at, ids[at], ids[right]), (merge, at));
    }

    private readonly record struct Candidate(int At, int Left, int Right);
}
