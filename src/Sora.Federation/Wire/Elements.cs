using System.Buffers;
using System.Collections.Immutable;
using System.Text;
using MessagePack;

namespace Sora.Federation.Wire;

/// <summary>
/// The values messages are made of, with their limits. A value that no reader would take is not written either: the journal must stay
/// readable, and who made it should hear of it.
/// </summary>
internal static class Elements
{
    /// <summary>Characters of a text for people that leave the process; what is longer is cut.</summary>
    public const int MaxReason = 4096;

    /// <summary>Names in a message from outside: well beyond the largest federation a coordinator serves.</summary>
    public const int MaxSites = 10_000;

    private const int MaxReasonBytes = 4 * (MaxReason + 1);
    private const int MaxName = 200;
    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
    private static readonly SearchValues<char> NameCharacters = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.");
    private static readonly SearchValues<char> Hexadecimal = SearchValues.Create("0123456789abcdef");

    // Names of runs, sites and processes become names of files on both sides.
    public static void WriteName(ref MessagePackWriter writer, string name) => writer.Write(Name(name));

    public static string ReadName(ref MessagePackReader reader) => Name(ReadText(ref reader, MaxName));

    public static void WriteSha256(ref MessagePackWriter writer, string hash) => writer.Write(Sha256(hash));

    public static string ReadSha256(ref MessagePackReader reader) => Sha256(ReadText(ref reader, MaxName));

    public static void WriteNames(ref MessagePackWriter writer, IReadOnlyCollection<string> names, int most = MaxSites) => WriteList(ref writer, names, most, WriteName);

    public static ImmutableArray<string> ReadNames(ref MessagePackReader reader, int most = MaxSites) => ReadList(ref reader, most, ReadName);

    public static void WriteList<T>(ref MessagePackWriter writer, IReadOnlyCollection<T> list, int most, WriteElements<T> write)
    {
        writer.WriteArrayHeader(Listed(list.Count, most));
        foreach (var element in list)
            write(ref writer, element);
    }

    /// <summary>Reads a list; the library has seen to it that there is at least a byte for each element.</summary>
    public static ImmutableArray<T> ReadList<T>(ref MessagePackReader reader, int most, ReadElements<T> read)
    {
        var count = Listed(reader.ReadArrayHeader(), most);
        var list = ImmutableArray.CreateBuilder<T>(count);
        for (var i = 0; i < count; i++)
            list.Add(read(ref reader));
        return list.MoveToImmutable();
    }

    // Reasons may hold the text of any exception.
    public static void WriteReason(ref MessagePackWriter writer, string reason) =>
        writer.Write(reason.Length <= MaxReason ? reason : string.Concat(reason.AsSpan(0, char.IsHighSurrogate(reason[MaxReason - 1]) ? MaxReason - 1 : MaxReason), "…"));

    public static string ReadReason(ref MessagePackReader reader) => ReadText(ref reader, MaxReasonBytes);

    public static string ReadText(ref MessagePackReader reader, int mostBytes = int.MaxValue)
    {
        if (reader.ReadStringSequence() is not { } text)
            throw new InvalidRoundMessageException("A message has nothing where a text belongs.");
        return text.Length <= mostBytes ? Utf8.GetString(text) : throw new InvalidRoundMessageException($"A message has a text of {text.Length} bytes; at most {mostBytes} are taken.");
    }

    public static void WriteNumber(ref MessagePackWriter writer, long number, long least = 0, long most = int.MaxValue) => writer.Write(Number(number, least, most));

    public static int ReadNumber(ref MessagePackReader reader, int least = 0, int most = int.MaxValue) => (int)Number(reader.ReadInt64(), least, most);

    public static long ReadLong(ref MessagePackReader reader, long least = 0, long most = long.MaxValue) => Number(reader.ReadInt64(), least, most);

    public static void WriteDuration(ref MessagePackWriter writer, TimeSpan duration) => WriteNumber(ref writer, duration.Ticks, most: long.MaxValue);

    public static TimeSpan ReadDuration(ref MessagePackReader reader) => TimeSpan.FromTicks(ReadLong(ref reader));

    public static void WriteOptional(ref MessagePackWriter writer, double? number)
    {
        if (number is { } known)
            writer.Write(known);
        else
            writer.WriteNil();
    }

    public static double? ReadOptional(ref MessagePackReader reader) => reader.TryReadNil() ? null : reader.ReadDouble();

    private static int Listed(int count, int most) =>
        count <= most ? count : throw new InvalidRoundMessageException($"A message has a list of {count}; at most {most} are taken.");

    private static string Name(string name) => name.Length is > 0 and <= MaxName && char.IsAsciiLetterOrDigit(name[0]) && !name.AsSpan().ContainsAnyExcept(NameCharacters)
        ? name
        : throw new InvalidRoundMessageException($"A message has a name that is none: 1 to {MaxName} letters, digits, '-', '_' and '.', beginning with a letter or digit.");

    private static string Sha256(string hash) => hash.Length == 64 && !hash.AsSpan().ContainsAnyExcept(Hexadecimal)
        ? hash
        : throw new InvalidRoundMessageException("A message has a SHA-256 that is none: 64 hexadecimal digits in lower case.");

    private static long Number(long number, long least, long most) => number >= least && number <= most
        ? number
        : throw new InvalidRoundMessageException($"A message has the number {number} where {least} to {most} belong.");
}
