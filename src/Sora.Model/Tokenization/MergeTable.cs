using System.Numerics;

namespace Sora.Model.Tokenization;

/// <summary>
/// Which pairs of ids merge, into what, and in which order. An open-addressing table with key and value side by side: a vocabulary of 200,000
/// has half a million pairs, so a look-up is one cache miss, where a <see cref="Dictionary{TKey,TValue}"/> costs two.
/// </summary>
internal sealed class MergeTable
{
    /// <summary>What <see cref="Find"/> gives for a pair that does not merge: larger than any merge.</summary>
    public const ulong None = ulong.MaxValue;

    private readonly Slot[] _slots;
    private readonly int _shift;

    public MergeTable(int capacity)
    {
        var size = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, capacity * 2));
        _slots = new Slot[size];
        _shift = 64 - BitOperations.Log2((uint)size);
        Array.Fill(_slots, new Slot(None, None));
    }

    /// <summary>Adds a merge; the last one of a pair counts.</summary>
    public void Add(int left, int right, int rank, int merged)
    {
        var key = Key(left, right);
        var index = Home(key);
        while (_slots[index].Key != None && _slots[index].Key != key)
            index = (index + 1) & (_slots.Length - 1);
        _slots[index] = new Slot(key, ((ulong)(uint)rank << 32) | (uint)merged);
    }

    /// <summary>Rank in the upper and merged id in the lower half, so that the smallest value is the merge to do first; or <see cref="None"/>.</summary>
    public ulong Find(int left, int right)
    {
        var key = Key(left, right);
        var slots = _slots;
        var index = Home(key);
        while (true)
        {
            ref readonly var slot = ref slots[index];
            if (slot.Key == key) return slot.Value;
            if (slot.Key == None) return None;
            index = (index + 1) & (slots.Length - 1);
        }
    }

    private static ulong Key(int left, int right) => ((ulong)(uint)left << 32) | (uint)right;

    // Fibonacci hashing: the upper bits of the product mix both ids.
    private int Home(ulong key) => (int)((key * 0x9E3779B97F4A7C15) >> _shift);

    private readonly record struct Slot(ulong Key, ulong Value);
}
