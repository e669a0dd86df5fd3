using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Sora.Federation.Identity;

/// <summary>
/// The bytes a signature, hash or key is over: first what it is for, then each field with its length, so that no two lists of fields, and no
/// two purposes, ever give the same bytes.
/// </summary>
internal sealed class Transcript
{
    private readonly MemoryStream _bytes = new();

    /// <summary>Begins a transcript.</summary>
    /// <param name="domain">What the signature is for; unique in this product.</param>
    public Transcript(string domain) => Add("sora-federation/v1/" + domain);

    public Transcript Add(ReadOnlySpan<byte> field)
    {
        Span<byte> length = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32BigEndian(length, field.Length);
        _bytes.Write(length);
        _bytes.Write(field);
        return this;
    }

    public Transcript Add(string field) => Add(Encoding.UTF8.GetBytes(field));

    public Transcript Add(long field)
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64BigEndian(bytes, field);
        return Add(bytes);
    }

    public byte[] ToArray() => _bytes.ToArray();

    public byte[] Hash() => SHA256.HashData(ToArray());
}
