using System.Buffers;
using System.Runtime.CompilerServices;
using System.Text.Unicode;
using Sora.Protocol.Jobs;

namespace Sora.Model.Data.Sources;

/// <summary>
/// A file as one document. A long one comes in parts, cut in front of a space between two ASCII words: there the pre-splits of
/// GPT-2, cl100k and o200k cut as well, so the tokens are those of the whole document. Text without such places is cut at a line,
/// else between characters.
/// </summary>
internal static class PlainText
{
    private static ReadOnlySpan<byte> ByteOrderMark => [0xEF, 0xBB, 0xBF];

    public static async IAsyncEnumerable<TextBatch> ReadAsync(
        Stream content, string name, Func<long> position, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var carried = Array.Empty<byte>();
        var offset = 0L;
        var reported = 0L;
        while (true)
        {
            var buffer = ArrayPool<byte>.Shared.Rent(CorpusInput.BatchBytes);
            carried.CopyTo(buffer, 0);
            // Always full batches, so that the cuts depend on nothing but the content.
            var filled = carried.Length + await content.ReadAtLeastAsync(
                buffer.AsMemory(carried.Length, CorpusInput.BatchBytes - carried.Length), CorpusInput.BatchBytes - carried.Length, throwOnEndOfStream: false, cancellationToken);
            var last = filled < CorpusInput.BatchBytes;
            var length = last ? filled : FindCut(buffer.AsSpan(0, filled));
            carried = buffer.AsSpan(length, filled - length).ToArray();

            var skipped = offset == 0 && buffer.AsSpan(0, length).StartsWith(ByteOrderMark) ? ByteOrderMark.Length : 0;
            var read = position();
            yield return new Utf8Batch(buffer, skipped, length - skipped, name, offset + skipped, last) { InputBytes = read - reported };
            if (last) yield break;
            reported = read;
            offset += length;
        }
    }

    internal static int FindCut(ReadOnlySpan<byte> utf8)
    {
        for (var i = utf8.Length - 2; i > 0; i--)
            if (utf8[i] == ' ' && char.IsAsciiLetterOrDigit((char)utf8[i - 1]) && char.IsAsciiLetterOrDigit((char)utf8[i + 1]))
                return i;
        var line = utf8[1..^1].LastIndexOf((byte)'\n');
        if (line >= 0) return line + 2;
        for (var i = utf8.Length - 1; i >= utf8.Length - 4; i--)
            if ((utf8[i] & 0xC0) != 0x80) // the first byte of a character, which may not be whole
                return i;
        return utf8.Length; // no UTF-8 at all; decoding says so
    }
}

/// <summary>Bytes of a text.</summary>
internal sealed class Utf8Batch(byte[] rented, int start, int length, string name, long offset, bool endsDocument) : TextBatch
{
    public override IEnumerable<TextPart> Decode()
    {
        if (offset == 0) Utf8Text.RefuseUtf16(rented.AsSpan(start, length), name);
        var chars = ArrayPool<char>.Shared.Rent(Math.Max(1, length)); // UTF-16 has at most as many units as UTF-8 has bytes
        var written = Utf8Text.Decode(rented.AsSpan(start, length), chars, name, offset);
        ArrayPool<byte>.Shared.Return(rented);
        yield return new(chars.AsMemory(0, written), length, endsDocument);
        ArrayPool<char>.Shared.Return(chars);
    }
}

/// <summary>Strict UTF-8.</summary>
internal static class Utf8Text
{
    /// <summary>Decodes bytes; says where the first one that is no UTF-8 lies.</summary>
    public static int Decode(ReadOnlySpan<byte> utf8, Span<char> chars, string name, long offset)
    {
        if (Utf8.ToUtf16(utf8, chars, out var read, out var written, replaceInvalidSequences: false) != OperationStatus.Done)
            throw new SoraException(
                $"{name} is not UTF-8: the byte at offset {offset + read:N0} (0x{utf8[read]:X2}) is invalid. Convert the file, for example with 'iconv -f LATIN1 -t UTF-8'.",
                ExitCode.InvalidInput);
        return written;
    }

    /// <summary>Refuses UTF-16, by its byte order mark or by the zeros its Latin letters have: those are valid UTF-8, so that it would pass for text.</summary>
    /// <param name="start">The beginning of a file.</param>
    /// <param name="name">Names the file.</param>
    public static void RefuseUtf16(ReadOnlySpan<byte> start, string name)
    {
        if (Utf16Name(start) is { } encoding)
            throw new SoraException($"{name} is UTF-16, not UTF-8. Convert the file with 'iconv -f {encoding} -t UTF-8'.", ExitCode.InvalidInput);
    }

    private static string? Utf16Name(ReadOnlySpan<byte> start)
    {
        if (start is [0xFF, 0xFE, ..] or [0xFE, 0xFF, ..]) return "UTF-16"; // which reads the mark
        var sample = start[..(Math.Min(start.Length, 4096) & ~1)];
        Span<int> zeros = [0, 0]; // at even and at odd offsets
        for (var i = 0; i < sample.Length; i++)
            if (sample[i] == 0) zeros[i & 1]++;
        // Text has no zeros; binary data has them at both.
        var (few, many) = zeros[0] < zeros[1] ? (zeros[0], zeros[1]) : (zeros[1], zeros[0]);
        return many * 4 <= sample.Length / 2 || few * 10 > many ? null : zeros[1] > zeros[0] ? "UTF-16LE" : "UTF-16BE";
    }
}
