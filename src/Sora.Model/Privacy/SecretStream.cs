using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Sora.Model.Privacy;

/// <summary>
/// Random bytes that nobody can guess without the secret, and that are the same whenever they are drawn: AES-256 in counter mode,
/// its key derived by HKDF-SHA-256 from the secret, what they are for, the context and the step.
/// </summary>
internal sealed class SecretStream : IDisposable
{
    /// <summary>Bytes of a block.</summary>
    public const int BlockSize = 16;

    private readonly Aes _aes = Aes.Create();

    public SecretStream(ReadOnlySpan<byte> secret, string purpose, string context, long step)
    {
        var use = string.Create(CultureInfo.InvariantCulture, $"sora {purpose} 1\n{step}\n{context}");
        Span<byte> key = stackalloc byte[32];
        HKDF.DeriveKey(HashAlgorithmName.SHA256, secret, key, salt: [], Encoding.UTF8.GetBytes(use));
        _aes.SetKey(key);
        CryptographicOperations.ZeroMemory(key);
    }

    /// <summary>Fills whole blocks.</summary>
    /// <param name="bytes">Receives them.</param>
    /// <param name="firstBlock">Number of the first in the stream.</param>
    public void Fill(Span<byte> bytes, long firstBlock)
    {
        bytes.Clear();
        for (var block = 0; block < bytes.Length / BlockSize; block++)
            BinaryPrimitives.WriteInt64LittleEndian(bytes[(block * BlockSize)..], firstBlock + block);
        _aes.EncryptEcb(bytes, bytes, PaddingMode.None);
    }

    public void Dispose() => _aes.Dispose();
}
