using System.Security.Cryptography;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Identity;

/// <summary>The private key of a site or a coordinator: ECDSA on the curve P-256 with SHA-256.</summary>
public sealed class IdentityKey : IDisposable
{
    /// <summary>Bytes of a signature (r and s, IEEE P1363).</summary>
    public const int SignatureLength = 64;

    private readonly Lock _lock = new();
    private readonly ECDsa _key;

    private IdentityKey(ECDsa key)
    {
        _key = key;
        Public = PublicKey.Of(key);
    }

    /// <summary>The public half.</summary>
    public PublicKey Public { get; }

    /// <summary>The key as PEM (PKCS #8), without a password: the file's mode protects it.</summary>
    public string Pem => _key.ExportPkcs8PrivateKeyPem();

    /// <summary>Makes a new key.</summary>
    public static IdentityKey Create() => new(ECDsa.Create(ECCurve.NamedCurves.nistP256));

    /// <summary>Reads a key from PEM.</summary>
    /// <exception cref="SoraException">It is no such key. The message says nothing of the key.</exception>
    public static IdentityKey FromPem(string pem)
    {
        var key = ECDsa.Create();
        try
        {
            key.ImportFromPem(pem);
            PublicKey.RequireP256(key);
            key.ExportParameters(includePrivateParameters: true); // refuses a public key
            return new IdentityKey(key);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            key.Dispose();
            throw new SoraException("This is not a private key of a site (ECDSA, P-256, PEM without a password).", ExitCode.InvalidInput, e);
        }
    }

    /// <summary>Signs data; from any thread.</summary>
    public byte[] Sign(ReadOnlySpan<byte> data)
    {
        lock (_lock) return _key.SignData(data, HashAlgorithmName.SHA256);
    }

    /// <inheritdoc/>
    public void Dispose() => _key.Dispose();
}
