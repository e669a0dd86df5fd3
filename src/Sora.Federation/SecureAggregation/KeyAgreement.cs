using System.Security.Cryptography;

namespace Sora.Federation.SecureAggregation;

/// <summary>Diffie-Hellman; a seam so that tests of ten thousands of rounds need not compute on a curve.</summary>
internal interface IKeyAgreement
{
    IAgreementKey Generate();

    /// <summary>The key of a restored private key, or null if it is none.</summary>
    IAgreementKey? Import(ReadOnlySpan<byte> privateKey);

    bool IsPublicKey(ReadOnlySpan<byte> publicKey);
}

/// <summary>A key pair; disposing wipes the private key.</summary>
internal interface IAgreementKey : IDisposable
{
    byte[] PublicKey { get; }

    byte[] Agree(ReadOnlySpan<byte> publicKey);

    /// <summary>The private key as <see cref="ShamirSharing.SecretBytes"/> bytes; the caller wipes it.</summary>
    byte[] ExportPrivateKey();
}

/// <summary>ECDH on P-256. Public keys are uncompressed points, 65 bytes.</summary>
internal sealed class P256KeyAgreement : IKeyAgreement
{
    public const int PublicKeyBytes = 1 + 2 * CoordinateBytes;
    private const int CoordinateBytes = 32;
    private const byte Uncompressed = 4;

    public IAgreementKey Generate() => new Key(ECDiffieHellman.Create(ECCurve.NamedCurves.nistP256));

    public IAgreementKey? Import(ReadOnlySpan<byte> privateKey)
    {
        var scalar = privateKey.ToArray();
        try
        {
            // The public point is computed, so that it can be compared with what was advertised.
            return new Key(ECDiffieHellman.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, D = scalar }));
        }
        catch (CryptographicException)
        {
            return null;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(scalar);
        }
    }

    public bool IsPublicKey(ReadOnlySpan<byte> publicKey)
    {
        if (publicKey.Length != PublicKeyBytes || publicKey[0] != Uncompressed)
            return false;
        try
        {
            ImportPublic(publicKey).Dispose();
            return true;
        }
        catch (CryptographicException)
        {
            return false;
        }
    }

    private static ECDiffieHellman ImportPublic(ReadOnlySpan<byte> publicKey) => ECDiffieHellman.Create(new ECParameters
    {
        Curve = ECCurve.NamedCurves.nistP256,
        Q = new ECPoint { X = publicKey.Slice(1, CoordinateBytes).ToArray(), Y = publicKey[(1 + CoordinateBytes)..].ToArray() },
    });

    private sealed class Key(ECDiffieHellman pair) : IAgreementKey
    {
        public byte[] PublicKey { get; } = Encode(pair.ExportParameters(includePrivateParameters: false).Q);

        public byte[] Agree(ReadOnlySpan<byte> publicKey)
        {
            using var other = ImportPublic(publicKey);
            using var otherPublic = other.PublicKey;
            return pair.DeriveRawSecretAgreement(otherPublic);
        }

        public byte[] ExportPrivateKey() => pair.ExportParameters(includePrivateParameters: true).D!;

        public void Dispose() => pair.Dispose();

        private static byte[] Encode(ECPoint point) => [Uncompressed, .. point.X!, .. point.Y!];
    }
}
