using System.Buffers;
using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Sora.Federation.SecureAggregation;

/// <summary>
/// What is hashed, signed or bound to a key: a label that says for what, then fields, each after its length. Two different
/// statements never have the same bytes.
/// </summary>
internal sealed class CanonicalBytes
{
    private readonly ArrayBufferWriter<byte> _bytes = new();

    public CanonicalBytes(string label) => Add("sora secure aggregation 1").Add(label);

    public CanonicalBytes Add(ReadOnlySpan<byte> field)
    {
        BinaryPrimitives.WriteInt32LittleEndian(_bytes.GetSpan(sizeof(int)), field.Length);
        _bytes.Advance(sizeof(int));
        _bytes.Write(field);
        return this;
    }

    public CanonicalBytes Add(string field) => Add(Encoding.UTF8.GetBytes(field));

    public CanonicalBytes Add(long field)
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, field);
        return Add(bytes);
    }

    public CanonicalBytes Add(double field) => Add(BitConverter.DoubleToInt64Bits(field));

    public ReadOnlySpan<byte> Span => _bytes.WrittenSpan;

    public byte[] Hash() => SHA256.HashData(_bytes.WrittenSpan);
}
