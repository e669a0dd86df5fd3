using System.Buffers;
using System.Buffers.Binary;
using System.IO.Hashing;
using MessagePack;
using Sora.Protocol.Generations;

namespace Sora.Protocol.Wire;

/// <summary>
/// A frame is a head of <see cref="HeadBytes"/> bytes and a raw payload. The head has a fixed length so that one receive
/// gets it, and a checksum of its own so that the receiver knows where the payload belongs before it takes it in:
/// <code>
///   0  magic            4 bytes, "SORA"
///   4  protocol version 2 bytes, little-endian like all that follow
///   6  header length    2 bytes
///   8  payload length   4 bytes
///  12  payload checksum 4 bytes, CRC32C of the quarters, see PayloadChecksum
///  16  header           MessagePack array of integers, zero-padded
/// 124  head CRC32       4 bytes, over bytes 0..123
/// </code>
/// </summary>
public static class FrameCodec
{
    /// <summary>Bytes of a head.</summary>
    public const int HeadBytes = 128;

    /// <summary>Largest payload; a longer one is refused before anything is allocated for it.</summary>
    public const int MaxPayloadBytes = 1 << 20;

    /// <summary>Version of frames and handshake; both ends must have the same.</summary>
    public const ushort ProtocolVersion = 2;

    private const uint Magic = 0x41524F53; // "SORA", little-endian
    private const int HeaderAt = 16;
    private const int HeadCrcAt = HeadBytes - 4;
    private const int Fields = 9;

    /// <summary>Writes the head of a frame, with the checksum of <paramref name="payload"/>.</summary>
    public static void WriteHead(in FrameHeader header, ReadOnlySpan<byte> payload, Span<byte> head)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(header.PayloadBytes, payload.Length, nameof(payload));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(payload.Length, MaxPayloadBytes, nameof(payload));
        var packed = Pack(header);
        head = head[..HeadBytes];
        head.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(head, Magic);
        BinaryPrimitives.WriteUInt16LittleEndian(head[4..], ProtocolVersion);
        BinaryPrimitives.WriteUInt16LittleEndian(head[6..], (ushort)packed.Length);
        BinaryPrimitives.WriteInt32LittleEndian(head[8..], payload.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(head[12..], PayloadChecksum.Of(payload));
        packed.CopyTo(head[HeaderAt..HeadCrcAt]);
        BinaryPrimitives.WriteUInt32LittleEndian(head[HeadCrcAt..], Crc32.HashToUInt32(head[..HeadCrcAt]));
    }

    /// <summary>Reads a head; the payload's checksum, to be compared once the payload is here, comes with it.</summary>
    /// <exception cref="InvalidFrameException">The bytes are no head, or a damaged one.</exception>
    public static (FrameHeader Header, uint PayloadCrc) ReadHead(ReadOnlyMemory<byte> bytes)
    {
        if (bytes.Length < HeadBytes)
            throw new InvalidFrameException($"A frame ended after {bytes.Length} of the {HeadBytes} bytes of its head.");
        var head = bytes.Span[..HeadBytes];
        if (BinaryPrimitives.ReadUInt32LittleEndian(head) != Magic)
            throw new InvalidFrameException("The bytes do not start like a frame: something else speaks on this connection, or it lost bytes.");
        if (BinaryPrimitives.ReadUInt32LittleEndian(head[HeadCrcAt..]) != Crc32.HashToUInt32(head[..HeadCrcAt]))
            throw new InvalidFrameException("The head of a frame was damaged on the way (CRC mismatch).");
        var version = BinaryPrimitives.ReadUInt16LittleEndian(head[4..]);
        if (version != ProtocolVersion)
            throw new InvalidFrameException($"The peer speaks exchange protocol {version}, this worker {ProtocolVersion}: run the same version of sora everywhere.");
        var headerLength = BinaryPrimitives.ReadUInt16LittleEndian(head[6..]);
        if (headerLength > HeadCrcAt - HeaderAt)
            throw new InvalidFrameException($"A frame claims a header of {headerLength} bytes; at most {HeadCrcAt - HeaderAt} fit.");
        var payload = BinaryPrimitives.ReadUInt32LittleEndian(head[8..]);
        if (payload > MaxPayloadBytes)
            throw new InvalidFrameException($"A frame claims a payload of {payload} bytes; at most {MaxPayloadBytes} are allowed.");
        return (Unpack(bytes.Slice(HeaderAt, headerLength), (int)payload), BinaryPrimitives.ReadUInt32LittleEndian(head[12..]));
    }

    /// <summary>Compares a payload with the checksum from its head.</summary>
    /// <exception cref="InvalidFrameException">They differ.</exception>
    public static void CheckPayload(ReadOnlySpan<byte> payload, uint payloadCrc)
    {
        if (PayloadChecksum.Of(payload) != payloadCrc)
            throw new InvalidFrameException($"A payload of {payload.Length} bytes was damaged on the way (CRC mismatch).");
    }

    private static ReadOnlySpan<byte> Pack(in FrameHeader header)
    {
        var buffer = new ArrayBufferWriter<byte>(HeadBytes);
        var writer = new MessagePackWriter(buffer);
        writer.WriteArrayHeader(Fields);
        writer.Write(header.Run);
        writer.Write(header.Generation);
        writer.Write(header.Sequence);
        writer.Write(header.Step);
        writer.Write((byte)header.Phase);
        writer.Write(header.Chunk);
        writer.Write(header.Node.First);
        writer.Write(header.Node.Count);
        writer.Write(header.Offset);
        writer.Flush();
        return buffer.WrittenSpan;
    }

    private static FrameHeader Unpack(ReadOnlyMemory<byte> packed, int payloadBytes)
    {
        var reader = new MessagePackReader(packed);
        try
        {
            var fields = reader.ReadArrayHeader();
            if (fields != Fields)
                throw new InvalidFrameException($"A header has {fields} fields instead of {Fields}.");
            var header = new FrameHeader(
                reader.ReadUInt64(), reader.ReadInt64(), reader.ReadInt64(), reader.ReadInt64(), (ExchangePhase)reader.ReadByte(),
                reader.ReadInt32(), new LaneRange(reader.ReadInt32(), reader.ReadInt32()), reader.ReadInt64(), payloadBytes);
            if (!reader.End)
                throw new InvalidFrameException("A header goes on after its last field.");
            if (!Enum.IsDefined(header.Phase))
                throw new InvalidFrameException($"Frames of type {(byte)header.Phase} are unknown here.");
            if ((header.Generation | header.Sequence | header.Step | header.Offset) < 0 || (header.Chunk | header.Node.First | header.Node.Count) < 0)
                throw new InvalidFrameException("A header holds a negative number.");
            return header;
        }
        catch (Exception e) when (e is MessagePackSerializationException or EndOfStreamException or OverflowException)
        {
            throw new InvalidFrameException("The header of a frame is not what this protocol writes: " + e.Message, e);
        }
    }
}
