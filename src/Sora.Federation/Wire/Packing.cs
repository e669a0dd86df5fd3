using System.Buffers;
using MessagePack;

namespace Sora.Federation.Wire;

/// <summary>Writes the elements of an array.</summary>
internal delegate void WriteElements<in T>(ref MessagePackWriter writer, T value);

/// <summary>Reads the elements of an array.</summary>
internal delegate T ReadElements<out T>(ref MessagePackReader reader);

/// <summary>Reads what follows a kind.</summary>
internal delegate T ReadKind<out T>(string kind, ref MessagePackReader reader);

/// <summary>
/// A message: <c>[kind, [element, ...]]</c>. The kind names its version. Elements are only ever appended, and readers skip what they do
/// not know behind those they do; any other change takes a new kind.
/// </summary>
internal static class Packing
{
    /// <summary>Bytes of a message: with the envelope around it, it stays below the four MiB that gRPC takes.</summary>
    public const int MaxBytes = 4_000_000;

    private const int MaxKindBytes = 64;

    public static byte[] Pack<T>(string kind, T value, WriteElements<T> write)
    {
        var buffer = new ArrayBufferWriter<byte>(256);
        var writer = new MessagePackWriter(buffer);
        writer.WriteArrayHeader(2);
        writer.Write(kind);
        write(ref writer, value);
        writer.Flush();
        return buffer.WrittenCount <= MaxBytes
            ? buffer.WrittenSpan.ToArray()
            : throw new InvalidRoundMessageException($"A message of kind {kind} has {buffer.WrittenCount} bytes, more than the {MaxBytes} that may travel: the federation has too many sites for it.");
    }

    public static T Unpack<T>(ReadOnlyMemory<byte> message, ReadKind<T> read)
    {
        if (message.Length > MaxBytes)
            throw new InvalidRoundMessageException($"A message has {message.Length} bytes; at most {MaxBytes} are taken.");
        var reader = new MessagePackReader(message);
        return Guarded(ref reader, (ref packed) =>
        {
            var value = ReadArray(ref packed, 2, (ref parts) => read(ReadAnyKind(ref parts), ref parts));
            return packed.End ? value : throw new InvalidRoundMessageException("A message goes on after its end.");
        });
    }

    /// <summary>The kind of a message; empty if it is none.</summary>
    public static string KindOf(ReadOnlyMemory<byte> message)
    {
        try
        {
            var reader = new MessagePackReader(message);
            return Guarded(ref reader, static (ref packed) => packed.ReadArrayHeader() < 2 ? "" : ReadAnyKind(ref packed));
        }
        catch (InvalidRoundMessageException)
        {
            return "";
        }
    }

    /// <summary>Whatever is wrong with the bytes becomes one exception.</summary>
    public static T Guarded<T>(ref MessagePackReader reader, ReadElements<T> read)
    {
        try
        {
            return read(ref reader);
        }
        // The last one is for texts that are no UTF-8, and is what the library throws for lengths of two GiB and more.
        catch (Exception e) when (e is MessagePackSerializationException or EndOfStreamException or OverflowException or ArgumentException)
        {
            throw new InvalidRoundMessageException("A message is not what this release writes: " + e.Message, e);
        }
    }

    /// <summary>Reads an array whose first elements this release knows.</summary>
    public static T ReadArray<T>(ref MessagePackReader reader, int known, ReadElements<T> read)
    {
        var count = reader.ReadArrayHeader();
        if (count < known)
            throw new InvalidRoundMessageException($"A message has an array of {count} elements where at least {known} belong.");
        var value = read(ref reader);
        Skip(ref reader, count - known);
        return value;
    }

    public static T Unknown<T>(string kind) =>
        throw new InvalidRoundMessageException($"A message is of kind '{kind}', which this release does not know here: use the same release at site and coordinator.");

    private static string ReadAnyKind(ref MessagePackReader reader) => Elements.ReadText(ref reader, MaxKindBytes);

    // Skip takes an array that claims 2^31 elements for an empty one: headers are read here, where a claim must be backed by bytes.
    private static void Skip(ref MessagePackReader reader, long count)
    {
        for (; count > 0; count--)
        {
            switch (reader.NextMessagePackType)
            {
                case MessagePackType.Array: count += reader.ReadArrayHeader(); break;
                case MessagePackType.Map: count += 2L * reader.ReadMapHeader(); break;
                default: reader.Skip(); break;
            }
        }
    }
}
