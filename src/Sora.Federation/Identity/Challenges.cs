using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Sora.Federation.Identity;

/// <summary>What became of a challenge that came back.</summary>
public enum ChallengeVerdict
{
    /// <summary>It is ours, in time, and comes back for the first time.</summary>
    Fresh,
    /// <summary>It is not ours, or ours from before a restart.</summary>
    Foreign,
    /// <summary>It comes too late, or the clock was put back.</summary>
    Expired,
    /// <summary>It came back before.</summary>
    Replayed,
    /// <summary>So many came back lately that this one could not be remembered.</summary>
    TooMany,
}

/// <summary>
/// Makes the coordinator's nonces and takes each back once. A challenge carries its time under a keyed hash, so that asking for one costs
/// no memory here; only those that came back under a good signature are remembered, and only until they expire.
/// </summary>
/// <param name="key">32 secret bytes, new at every start: challenges of an earlier process are foreign then, as what came back to it is not known.</param>
/// <param name="time">The clock.</param>
/// <param name="lifetime">How long a challenge may take to come back.</param>
/// <param name="capacity">How many are remembered.</param>
public sealed class Challenges(byte[] key, TimeProvider time, TimeSpan lifetime, int capacity)
{
    /// <summary>Bytes of a challenge: 8 of time, 16 of randomness, 32 of keyed hash.</summary>
    public const int Length = SignedLength + HMACSHA256.HashSizeInBytes;

    /// <summary>Bytes of randomness in a challenge.</summary>
    public const int RandomLength = 16;

    private const int SignedLength = sizeof(long) + RandomLength;

    private readonly Lock _lock = new();
    private readonly HashSet<string> _redeemed = [];
    private readonly Queue<(DateTimeOffset Expires, string Challenge)> _order = [];
    private DateTimeOffset _latest;

    /// <summary>How many challenges are remembered.</summary>
    public int Remembered
    {
        get { lock (_lock) return _redeemed.Count; }
    }

    /// <summary>Makes a challenge.</summary>
    /// <param name="random"><see cref="RandomLength"/> random bytes.</param>
    public byte[] Issue(ReadOnlySpan<byte> random)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(random.Length, RandomLength);
        var challenge = new byte[Length];
        BinaryPrimitives.WriteInt64BigEndian(challenge, time.GetUtcNow().UtcTicks);
        random.CopyTo(challenge.AsSpan(sizeof(long)));
        HMACSHA256.HashData(key, challenge.AsSpan(0, SignedLength), challenge.AsSpan(SignedLength));
        return challenge;
    }

    /// <summary>Takes a challenge back. Call it last, when the signature over it is found good: it is used up then.</summary>
    public ChallengeVerdict Redeem(ReadOnlySpan<byte> challenge)
    {
        if (challenge.Length != Length) return ChallengeVerdict.Foreign;
        Span<byte> expected = stackalloc byte[HMACSHA256.HashSizeInBytes];
        HMACSHA256.HashData(key, challenge[..SignedLength], expected);
        if (!CryptographicOperations.FixedTimeEquals(expected, challenge[SignedLength..])) return ChallengeVerdict.Foreign;
        lock (_lock)
        {
            // A clock that is put back must not bring back what has expired and was forgotten.
            var now = time.GetUtcNow();
            if (now < _latest) now = _latest;
            _latest = now;
            var issued = new DateTimeOffset(BinaryPrimitives.ReadInt64BigEndian(challenge), TimeSpan.Zero);
            if (now < issued || now >= issued + lifetime) return ChallengeVerdict.Expired;
            while (_order.TryPeek(out var oldest) && oldest.Expires <= now) _redeemed.Remove(_order.Dequeue().Challenge);
            var text = Convert.ToHexString(challenge);
            if (_redeemed.Contains(text)) return ChallengeVerdict.Replayed;
            if (_redeemed.Count >= capacity) return ChallengeVerdict.TooMany;
            // Kept a lifetime from now: no challenge that is in time now is in time after that, so none is forgotten while it counts.
            _redeemed.Add(text);
            _order.Enqueue((now + lifetime, text));
            return ChallengeVerdict.Fresh;
        }
    }
}
