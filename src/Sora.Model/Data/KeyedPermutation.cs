using System.Numerics;

namespace Sora.Model.Data;

/// <summary>
/// A pseudo-random permutation of 0..n-1 in O(1) memory: a balanced Feistel network over the smallest even number of bits that
/// holds n, walked along its cycles until the value falls below n (Black and Rogaway 2002, "Ciphers with arbitrary finite domains").
/// </summary>
internal readonly struct KeyedPermutation
{
    // Four rounds make a pseudo-random permutation for wide halves (Luby and Rackoff); the halves here can be a single bit.
    private const int Rounds = 8;

    private readonly ulong _key;
    private readonly ulong _length;
    private readonly int _halfBits;

    public KeyedPermutation(long length, ulong key)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        _length = (ulong)length;
        _key = key;
        var bits = 64 - BitOperations.LeadingZeroCount(_length - 1);
        _halfBits = Math.Max(1, (bits + 1) / 2);
    }

    /// <summary>Where the permutation sends an index.</summary>
    public long this[long index]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfNegative(index);
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((ulong)index, _length);
            if (_length == 1) return 0;
            var value = (ulong)index;
            do value = Encrypt(value);
            while (value >= _length); // the walk ends: the cycle comes back to where it started, which lies below the length
            return (long)value;
        }
    }

    private ulong Encrypt(ulong value)
    {
        var mask = (1UL << _halfBits) - 1;
        var left = value >> _halfBits;
        var right = value & mask;
        for (var round = 0; round < Rounds; round++)
            (left, right) = (right, left ^ (Mix(_key + ((ulong)round * 0x9E3779B97F4A7C15), right) & mask));
        return (left << _halfBits) | right;
    }

    /// <summary>Mixes a value into a key: the finalizer of SplitMix64 (Steele et al. 2014), whose output bits depend on all input bits.</summary>
    public static ulong Mix(ulong key, ulong value)
    {
        var z = (key ^ (value * 0xD6E8FEB86659FD93)) + 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
