using System.Security.Cryptography;
using Sora.Federation.Identity;

namespace Sora.Federation.SecureAggregation;

/// <summary>
/// Keys derived by HKDF-SHA256. The salt is the digest of the round's plan, which holds the session id: a key is of one round,
/// one purpose and one pair of sites, and is used once.
/// </summary>
internal static class KeySchedule
{
    public const int TagBytes = 16;

    /// <summary>The mask key of two sites, the same for both.</summary>
    public static byte[] PairMask(byte[] agreed, byte[] planDigest, string one, string other)
    {
        var (lower, higher) = AddsMaskWith(one, other) ? (one, other) : (other, one);
        return Derive(agreed, planDigest, new Transcript("secure-aggregation/pair-mask").Add(lower).Add(higher));
    }

    /// <summary>Of two sites, the one that comes first adds their common mask and the other subtracts it.</summary>
    public static bool AddsMaskWith(string site, string peer) => string.CompareOrdinal(site, peer) < 0;

    /// <summary>The key of the mask a site puts on alone.</summary>
    public static byte[] SelfMask(byte[] seed, byte[] planDigest, string site) =>
        Derive(seed, planDigest, new Transcript("secure-aggregation/self-mask").Add(site));

    /// <summary>What a site publishes of its seed, so that a restored one can be told from a forged one.</summary>
    public static byte[] CommitToSelfMask(byte[] seed, byte[] planDigest, string site) =>
        Derive(seed, planDigest, new Transcript("secure-aggregation/self-mask-commitment").Add(site));

    /// <summary>Encrypts the shares from one site to another.</summary>
    public static byte[] Seal(byte[] agreed, byte[] planDigest, byte[] rosterDigest, string from, string to, ReadOnlySpan<byte> plain)
    {
        var key = ShareKey(agreed, planDigest, from, to);
        using var cipher = new AesGcm(key, TagBytes);
        var box = new byte[plain.Length + TagBytes];
        cipher.Encrypt(SingleUseNonce(), plain, box.AsSpan(0, plain.Length), box.AsSpan(plain.Length), Associated(planDigest, rosterDigest, from, to));
        CryptographicOperations.ZeroMemory(key);
        return box;
    }

    /// <summary>Decrypts what <see cref="Seal"/> made; null if it is not for this pair, round and roster, or was changed.</summary>
    public static byte[]? Open(byte[] agreed, byte[] planDigest, byte[] rosterDigest, string from, string to, ReadOnlySpan<byte> box)
    {
        if (box.Length < TagBytes)
            return null;
        var key = ShareKey(agreed, planDigest, from, to);
        using var cipher = new AesGcm(key, TagBytes);
        var plain = new byte[box.Length - TagBytes];
        try
        {
            cipher.Decrypt(SingleUseNonce(), box[..plain.Length], box[plain.Length..], plain, Associated(planDigest, rosterDigest, from, to));
            return plain;
        }
        catch (AuthenticationTagMismatchException)
        {
            return null;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(key);
        }
    }

    // A key of its own for each direction of each pair in each round encrypts one message, so the nonce may be constant.
    private static byte[] SingleUseNonce() => new byte[AesGcm.NonceByteSizes.MaxSize];

    private static byte[] ShareKey(byte[] agreed, byte[] planDigest, string from, string to) =>
        Derive(agreed, planDigest, new Transcript("secure-aggregation/shares").Add(from).Add(to));

    private static byte[] Associated(byte[] planDigest, byte[] rosterDigest, string from, string to) =>
        new Transcript("secure-aggregation/sealed-shares").Add(planDigest).Add(rosterDigest).Add(from).Add(to).ToArray();

    private static byte[] Derive(byte[] secret, byte[] salt, Transcript purpose) => Expand(secret, salt, purpose.ToArray());

    internal static byte[] Expand(byte[] secret, ReadOnlySpan<byte> salt, ReadOnlySpan<byte> info)
    {
        var key = new byte[CounterStream.KeyBytes];
        HKDF.DeriveKey(HashAlgorithmName.SHA256, secret, key, salt, info);
        return key;
    }
}
