using System.Runtime.InteropServices;

namespace Sora.Model.Tokenization;

/// <summary>
/// The ids of words seen lately. Text repeats itself: in English more than 95 % of words are in here, and finding one costs a hash and a compare
/// instead of its merges. One thread uses it. Bounded: when it is full it starts over.
/// </summary>
internal sealed class WordCache
{
    /// <summary>Longer words are rare, and not kept.</summary>
    public const int MaxLength = 40;

    private const int Slots = 1 << 15;
    private const int MaxEntries = Slots / 2;

    private readonly Entry[] _entries = new Entry[Slots];
    private readonly char[] _words = new char[MaxEntries * 12];
    private readonly int[] _ids = new int[MaxEntries * 6];
    private int _count;
    private int _wordsUsed;
    private int _idsUsed;

    /// <summary>Spreads the characters of a word over 64 bits.</summary>
    public static ulong Hash(ReadOnlySpan<char> word)
    {
        const ulong Multiplier = 0x9E3779B97F4A7C15;
        var hash = (ulong)word.Length;
        while (word.Length >= 4)
        {
            hash = (hash ^ MemoryMarshal.Read<ulong>(MemoryMarshal.AsBytes(word))) * Multiplier;
            hash ^= hash >> 32;
            word = word[4..];
        }
        var tail = 0UL;
        foreach (var c in word)
            tail = (tail << 16) | c;
        hash = (hash ^ tail) * Multiplier;
        return hash ^ (hash >> 29);
    }

    public bool TryGet(ReadOnlySpan<char> word, ulong hash, out ReadOnlySpan<int> ids)
    {
        for (var slot = (int)hash & (Slots - 1); ; slot = (slot + 1) & (Slots - 1))
        {
            ref readonly var entry = ref _entries[slot];
            if (entry.WordLength == 0)
            {
                ids = default;
                return false;
            }
            if (entry.Check != (uint)(hash >> 32) || entry.WordLength != word.Length) continue;
            if (!_words.AsSpan(entry.WordStart, entry.WordLength).SequenceEqual(word)) continue;
            ids = _ids.AsSpan(entry.IdsStart, entry.IdsLength);
            return true;
        }
    }

    public void Add(ReadOnlySpan<char> word, ulong hash, ReadOnlySpan<int> ids)
    {
        if (_count == MaxEntries || _wordsUsed + word.Length > _words.Length || _idsUsed + ids.Length > _ids.Length) Clear();
        var slot = (int)hash & (Slots - 1);
        while (_entries[slot].WordLength != 0)
            slot = (slot + 1) & (Slots - 1);
        _entries[slot] = new Entry((uint)(hash >> 32), _wordsUsed, _idsUsed, (ushort)word.Length, (ushort)ids.Length);
        word.CopyTo(_words.AsSpan(_wordsUsed));
        ids.CopyTo(_ids.AsSpan(_idsUsed));
        _wordsUsed += word.Length;
        _idsUsed += ids.Length;
        _count++;
    }

    private void Clear()
    {
        Array.Clear(_entries);
        (_count, _wordsUsed, _idsUsed) = (0, 0, 0);
    }

    private readonly record struct Entry(uint Check, int WordStart, int IdsStart, ushort WordLength, ushort IdsLength);
}
