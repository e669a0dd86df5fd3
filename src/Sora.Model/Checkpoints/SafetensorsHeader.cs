using System.Buffers;
using System.Buffers.Binary;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Unicode;
using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints;

/// <summary>One tensor of a safetensors file.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Dtype">Its element type.</param>
/// <param name="Shape">Its sizes; empty for a scalar.</param>
/// <param name="Offset">Where its first byte lies, from the start of the file.</param>
/// <param name="ByteCount">How many bytes it takes.</param>
public sealed record TensorEntry(string Name, TensorDtype Dtype, IReadOnlyList<long> Shape, long Offset, long ByteCount);

/// <summary>
/// The header of a safetensors file: eight little-endian bytes of length, then JSON, then the tensors' bytes.
/// Everything a header claims is checked before it is believed, because files come from strangers.
/// </summary>
internal static class SafetensorsHeader
{
    /// <summary>Longest header the reference implementation accepts; ours accepts and writes no more.</summary>
    public const int MaxLength = 100_000_000;

    private const string MetadataKey = "__metadata__";

    private static readonly JsonDocumentOptions _strict = new() { AllowDuplicateProperties = false, MaxDepth = 8 };

    /// <summary>Reads the length field.</summary>
    public static int ReadLength(ReadOnlySpan<byte> prefix, long fileSize, string path)
    {
        if (prefix.Length < 8)
            throw Invalid(path, $"it holds {prefix.Length} bytes, fewer than the 8 of the length field");
        var length = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (length > MaxLength)
            throw Invalid(path, $"its header claims {length} bytes, more than the {MaxLength} allowed");
        if ((long)length > fileSize - 8)
            throw Invalid(path, $"its header claims {length} bytes but only {fileSize - 8} follow; the file is cut short");
        return (int)length;
    }

    /// <summary>Reads the JSON and checks that its tensors fill the file exactly.</summary>
    public static (IReadOnlyList<TensorEntry> Tensors, IReadOnlyDictionary<string, string> Metadata) Parse(ReadOnlyMemory<byte> json, long fileSize, string path)
    {
        if (json.Length == 0 || json.Span[0] != '{')
            throw Invalid(path, "its header does not begin with '{'");
        if (!Utf8.IsValid(json.Span))
            throw Invalid(path, "its header is not valid UTF-8");
        var metadata = new Dictionary<string, string>(StringComparer.Ordinal);
        var tensors = new List<TensorEntry>();
        var dataStart = 8L + json.Length;
        try
        {
            using var document = JsonDocument.Parse(json, _strict);
            foreach (var property in document.RootElement.EnumerateObject())
            {
                if (property.NameEquals(MetadataKey))
                    ReadMetadata(property.Value, metadata, path);
                else
                    tensors.Add(ReadEntry(property, dataStart, path));
            }
        }
        // GetString and Name throw InvalidOperationException for escaped halves of surrogate pairs.
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw Invalid(path, $"its header is not the JSON the format asks for ({exception.Message})", exception);
        }
        CheckLayout(tensors, dataStart, fileSize, path);
        return (tensors, metadata);
    }

    /// <summary>Lays tensors out as the reference implementation does (widest elements first, then by name) and writes length and JSON.</summary>
    public static (byte[] Header, IReadOnlyList<TensorEntry> Layout) Create(IEnumerable<(string Name, TensorDtype Dtype, IReadOnlyList<long> Shape)> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        // Wide before narrow: with the header padded to eight bytes each tensor starts at a multiple of its element size.
        var ordered = tensors.OrderByDescending(tensor => tensor.Dtype.Bits).ThenBy(tensor => tensor.Name, StringComparer.Ordinal).ToList();
        var buffer = new ArrayBufferWriter<byte>(1024);
        buffer.Write(stackalloc byte[8]);
        var entries = new List<TensorEntry>(ordered.Count);
        var names = new HashSet<string>(StringComparer.Ordinal) { MetadataKey };
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            writer.WriteStartObject();
            writer.WriteStartObject(MetadataKey);
            foreach (var (key, value) in metadata.OrderBy(pair => pair.Key, StringComparer.Ordinal))
                writer.WriteString(key, value);
            writer.WriteEndObject();
            var offset = 0L;
            foreach (var (name, dtype, shape) in ordered)
            {
                if (!names.Add(name))
                    throw new ArgumentException($"Two tensors are called '{name}', or the name is reserved.", nameof(tensors));
                var size = dtype.ByteCount([.. shape]) ?? throw new ArgumentException($"Tensor '{name}' has no valid size: {dtype.Name} [{string.Join(", ", shape)}].", nameof(tensors));
                writer.WriteStartObject(name);
                writer.WriteString("dtype", dtype.Name);
                writer.WriteStartArray("shape");
                foreach (var dimension in shape)
                    writer.WriteNumberValue(dimension);
                writer.WriteEndArray();
                writer.WriteStartArray("data_offsets");
                writer.WriteNumberValue(offset);
                writer.WriteNumberValue(offset + size);
                writer.WriteEndArray();
                writer.WriteEndObject();
                entries.Add(new TensorEntry(name, dtype, shape, offset, size));
                offset += size;
            }
            writer.WriteEndObject();
        }
        while (buffer.WrittenCount % 8 != 0)
            buffer.Write(" "u8);
        if (buffer.WrittenCount - 8 > MaxLength)
            throw new ArgumentException($"The header takes {buffer.WrittenCount - 8} bytes, more than the {MaxLength} the format allows.", nameof(tensors));
        var header = buffer.WrittenSpan.ToArray();
        BinaryPrimitives.WriteUInt64LittleEndian(header, (ulong)(header.Length - 8));
        return (header, entries.ConvertAll(entry => entry with { Offset = entry.Offset + header.Length }));
    }

    private static void ReadMetadata(JsonElement value, Dictionary<string, string> metadata, string path)
    {
        if (value.ValueKind != JsonValueKind.Object)
            throw Invalid(path, "its __metadata__ is not an object");
        foreach (var property in value.EnumerateObject())
        {
            if (property.Value.ValueKind != JsonValueKind.String)
                throw Invalid(path, $"its __metadata__ entry '{property.Name}' is not a string");
            metadata[property.Name] = property.Value.GetString()!;
        }
    }

    private static TensorEntry ReadEntry(JsonProperty property, long dataStart, string path)
    {
        var name = property.Name;
        var value = property.Value;
        if (value.ValueKind != JsonValueKind.Object
            || !value.TryGetProperty("dtype", out var dtypeValue) || dtypeValue.ValueKind != JsonValueKind.String
            || !value.TryGetProperty("shape", out var shapeValue) || !TryReadNumbers(shapeValue, out var shape)
            || !value.TryGetProperty("data_offsets", out var offsetsValue) || !TryReadNumbers(offsetsValue, out var offsets) || offsets.Count != 2
            || value.GetPropertyCount() != 3)
            throw Invalid(path, $"tensor '{name}' is not described by exactly a dtype, a shape and two data_offsets");
        var dtype = TensorDtype.Find(dtypeValue.GetString()!)
            ?? throw Invalid(path, $"tensor '{name}' has the unknown dtype '{dtypeValue.GetString()}'");
        var size = dtype.ByteCount([.. shape])
            ?? throw Invalid(path, $"tensor '{name}' has an impossible size: {dtype.Name} [{string.Join(", ", shape)}]");
        var (begin, end) = (offsets[0], offsets[1]);
        if (begin > end || end - begin != size)
            throw Invalid(path, $"tensor '{name}' of {dtype.Name} [{string.Join(", ", shape)}] takes {size} bytes but its offsets are {begin}..{end}");
        if (end > long.MaxValue - dataStart)
            throw Invalid(path, $"tensor '{name}' ends at {end}, which no file reaches");
        return new TensorEntry(name, dtype, shape, dataStart + begin, size);
    }

    private static bool TryReadNumbers(JsonElement value, out List<long> numbers)
    {
        numbers = [];
        if (value.ValueKind != JsonValueKind.Array)
            return false;
        foreach (var element in value.EnumerateArray())
        {
            if (element.ValueKind != JsonValueKind.Number || !element.TryGetInt64(out var number) || number < 0)
                return false;
            numbers.Add(number);
        }
        return true;
    }

    private static void CheckLayout(List<TensorEntry> tensors, long dataStart, long fileSize, string path)
    {
        tensors.Sort((a, b) => a.Offset != b.Offset ? a.Offset.CompareTo(b.Offset)
            : a.ByteCount != b.ByteCount ? a.ByteCount.CompareTo(b.ByteCount)
            : string.CompareOrdinal(a.Name, b.Name));
        var expected = dataStart;
        foreach (var tensor in tensors)
        {
            if (tensor.Offset != expected)
                throw Invalid(path, $"tensor '{tensor.Name}' begins at byte {tensor.Offset} where {expected} was expected: tensors {(tensor.Offset < expected ? "overlap" : "leave a hole")}");
            expected += tensor.ByteCount;
        }
        if (expected != fileSize)
            throw Invalid(path, $"its tensors end at byte {expected} but the file has {fileSize}; it is {(expected > fileSize ? "cut short" : "longer than its header says")}");
    }

    internal static SoraException Invalid(string path, string reason, Exception? inner = null) =>
        new($"{path} is not a valid safetensors file: {reason}. Take another copy of it.", ExitCode.InvalidInput, inner);
}
