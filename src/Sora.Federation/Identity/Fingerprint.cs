using System.Security.Cryptography;

namespace Sora.Federation.Identity;

/// <summary>Fingerprints of public keys: <c>sha256:</c> and the hash of the key's SubjectPublicKeyInfo in lower-case hexadecimal.</summary>
public static class Fingerprint
{
    private const string Prefix = "sha256:";

    /// <summary>The fingerprint of a public key.</summary>
    public static string Of(ReadOnlySpan<byte> subjectPublicKeyInfo) => Prefix + Convert.ToHexStringLower(SHA256.HashData(subjectPublicKeyInfo));

    /// <summary>Whether a text is one.</summary>
    public static bool IsFingerprint(string text) =>
        text.Length == Prefix.Length + 64 && text.StartsWith(Prefix, StringComparison.Ordinal) && !text.AsSpan(Prefix.Length).ContainsAnyExcept("0123456789abcdef");
}
