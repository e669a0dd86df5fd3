using System.Buffers;
using MessagePack;

namespace Sora.Protocol.Wire;

/// <summary>What a joiner asks a holder of the state for, as it travels: <c>[bytes of the whole state, bytes wanted]</c>; the header says from where.</summary>
public static class StateRequestPayload
{
    /// <summary>Packs a request.</summary>
    public static byte[] Write(long stateBytes, int length)
    {
        var buffer = new ArrayBufferWriter<byte>(16);
        var writer = new MessagePackWriter(buffer);
        writer.WriteArrayHeader(2);
        writer.Write(stateBytes);
        writer.Write(length);
        writer.Flush();
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>Unpacks a request for bytes from <paramref name="offset"/> on.</summary>
    /// <exception cref="InvalidFrameException">The payload is malformed, or asks for what no such state has.</exception>
    public static (long StateBytes, int Length) Read(ReadOnlyMemory<byte> payload, long offset)
    {
        var reader = new MessagePackReader(payload);
        try
        {
            var fields = reader.ReadArrayHeader();
            if (fields != 2)
                throw new InvalidFrameException($"A request for state has {fields} fields instead of 2.");
            var (stateBytes, length) = (reader.ReadInt64(), reader.ReadInt32());
            if (!reader.End)
                throw new InvalidFrameException("A request for state goes on after its last field.");
            if (length is <= 0 or > FrameCodec.MaxPayloadBytes || stateBytes < length || offset > stateBytes - length)
                throw new InvalidFrameException($"{length} bytes at {offset} of a state of {stateBytes} bytes were asked for.");
            return (stateBytes, length);
        }
        catch (Exception e) when (e is MessagePackSerializationException or EndOfStreamException or OverflowException)
        {
            throw new InvalidFrameException("A request for state is not what this protocol writes: " + e.Message, e);
        }
    }
}
