using System.Security.Cryptography;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Identity;

/// <summary>The public half of an identity: an ECDSA key on the curve P-256.</summary>
public sealed class PublicKey : IEquatable<PublicKey>
{
    private readonly byte[] _info;

    private PublicKey(byte[] info)
    {
        _info = info;
        Fingerprint = Identity.Fingerprint.Of(info);
    }

    /// <summary>The key's fingerprint.</summary>
    public string Fingerprint { get; }

    /// <summary>The key as DER (SubjectPublicKeyInfo).</summary>
    public ReadOnlyMemory<byte> SubjectPublicKeyInfo => _info;

    /// <summary>The key as PEM.</summary>
    public string Pem => PemEncoding.WriteString("PUBLIC KEY", _info);

    /// <summary>Reads a key from DER.</summary>
    /// <exception cref="SoraException">It is no such key.</exception>
    public static PublicKey Import(ReadOnlySpan<byte> subjectPublicKeyInfo)
    {
        try
        {
            using var key = ECDsa.Create();
            key.ImportSubjectPublicKeyInfo(subjectPublicKeyInfo, out var read);
            RequireP256(key);
            if (read != subjectPublicKeyInfo.Length) throw new CryptographicException("something follows it");
            // Written anew, so that one key has one fingerprint.
            return new PublicKey(key.ExportSubjectPublicKeyInfo());
        }
        catch (CryptographicException e)
        {
            throw new SoraException($"This is not a public key of a site (ECDSA, P-256): {e.Message}", ExitCode.InvalidInput, e);
        }
    }

    /// <summary>Whether the signature over the data is this key's. Anything malformed is no signature.</summary>
    public bool Verify(ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature)
    {
        if (signature.Length != IdentityKey.SignatureLength) return false;
        using var key = ECDsa.Create();
        key.ImportSubjectPublicKeyInfo(_info, out _);
        return key.VerifyData(data, signature, HashAlgorithmName.SHA256);
    }

    /// <inheritdoc/>
    public bool Equals(PublicKey? other) => other is not null && _info.AsSpan().SequenceEqual(other._info);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as PublicKey);

    /// <inheritdoc/>
    public override int GetHashCode() => Fingerprint.GetHashCode(StringComparison.Ordinal);

    internal static PublicKey Of(ECDsa key) => new(key.ExportSubjectPublicKeyInfo());

    internal static void RequireP256(ECDsa key)
    {
        const string P256 = "1.2.840.10045.3.1.7";
        var curve = key.ExportParameters(includePrivateParameters: false).Curve;
        if (!curve.IsNamed || (curve.Oid.Value != P256 && curve.Oid.FriendlyName is not ("nistP256" or "ECDSA_P256")))
            throw new CryptographicException($"it is on the curve {curve.Oid?.FriendlyName ?? "of its own"}");
    }
}
