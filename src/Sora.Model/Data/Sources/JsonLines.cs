using System.Buffers;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Unicode;
using Sora.Protocol.Jobs;

namespace Sora.Model.Data.Sources;

/// <summary>A file with one JSON object a line, each one document in a field.</summary>
internal static class JsonLines
{
    private const int MaxLineBytes = 256 << 20;

    public static async IAsyncEnumerable<TextBatch> ReadAsync(
        Stream content, string name, string textField, Func<long> position, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var carried = Array.Empty<byte>();
        var (offset, line, reported, size) = (0L, 1L, 0L, CorpusInput.BatchBytes);
        while (true)
        {
            var buffer = ArrayPool<byte>.Shared.Rent(size);
            carried.CopyTo(buffer, 0);
            var filled = carried.Length + await content.ReadAtLeastAsync(
                buffer.AsMemory(carried.Length, size - carried.Length), size - carried.Length, throwOnEndOfStream: false, cancellationToken);
            var last = filled < size;
            var length = last ? filled : buffer.AsSpan(0, filled).LastIndexOf((byte)'\n') + 1;
            carried = buffer.AsSpan(length, filled - length).ToArray();
            if (length == 0 && !last)
            {
                // A line longer than the batch: once more with twice the room.
                ArrayPool<byte>.Shared.Return(buffer);
                if (size >= MaxLineBytes)
                    throw new SoraException($"{name}, line {line:N0}: longer than {MaxLineBytes >> 20} MiB. Is this one JSON object a line?", ExitCode.InvalidInput);
                size *= 2;
                continue;
            }

            var read = position();
            var lines = buffer.AsSpan(0, length).Count((byte)'\n');
            yield return new JsonLinesBatch(buffer, length, name, textField, line, offset) { InputBytes = read - reported };
            if (last) yield break;
            line += lines;
            offset += length;
            reported = read;
            size = Math.Max(CorpusInput.BatchBytes, carried.Length * 2);
        }
    }
}

/// <summary>Whole lines of JSON.</summary>
internal sealed class JsonLinesBatch(byte[] rented, int length, string name, string textField, long firstLine, long offset) : TextBatch
{
    public override IEnumerable<TextPart> Decode()
    {
        if (offset == 0) Utf8Text.RefuseUtf16(rented.AsSpan(0, length), name);
        var start = 0;
        for (var line = firstLine; start < length; line++)
        {
            var end = rented.AsSpan(start, length - start).IndexOf((byte)'\n');
            var next = end < 0 ? length : start + end + 1;
            var text = ReadText(rented.AsSpan(start, next - start), line, offset + start);
            start = next;
            if (text is { Length: > 0 }) yield return new(text.AsMemory(), System.Text.Encoding.UTF8.GetByteCount(text), EndsDocument: true);
        }
        ArrayPool<byte>.Shared.Return(rented);
    }

    private string? ReadText(ReadOnlySpan<byte> json, long line, long lineOffset)
    {
        if (lineOffset == 0 && json.StartsWith("\uFEFF"u8)) json = json[3..];
        if (json.Trim(" \t\r\n"u8).IsEmpty) return null;
        if (!Utf8.IsValid(json))
        {
            var chars = ArrayPool<char>.Shared.Rent(json.Length);
            Utf8Text.Decode(json, chars, name, lineOffset); // throws, naming the byte
        }
        try
        {
            var reader = new Utf8JsonReader(json);
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject) throw Error(line, "not a JSON object");
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var found = reader.ValueTextEquals(textField);
                reader.Read();
                if (!found)
                {
                    reader.Skip();
                    continue;
                }
                var text = reader.TokenType switch
                {
                    JsonTokenType.String => reader.GetString(),
                    JsonTokenType.Null => null,
                    _ => throw Error(line, $"the field '{textField}' is not a string"),
                };
                while (reader.Read())
                {
                    // to the end: a line that is cut short or holds two objects is an error even when the text came first
                }
                return text;
            }
            throw Error(line, $"no field '{textField}'. Name the one that holds the text with data.text_field, or outside a job with --text-field");
        }
        catch (JsonException e)
        {
            throw Error(line, $"not valid JSON at byte {e.BytePositionInLine + 1} ({e.Message.Split(" LineNumber:")[0].TrimEnd('.')})"); // the reader knows one line only
        }
        catch (InvalidOperationException e) // what Utf8JsonReader says about \uD800 and other halves of characters
        {
            throw Error(line, $"not valid text ({e.Message})");
        }
    }

    private SoraException Error(long line, string what) => new($"{name}, line {line:N0}: {what}.", ExitCode.InvalidInput);
}
