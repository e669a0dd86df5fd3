using System.Text.Json;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tokenization;

/// <summary>A value in a JSON file that knows where it stands, so that every complaint can say so.</summary>
internal readonly struct JsonPart(JsonElement element, string file, string path)
{
    public bool IsNull => element.ValueKind is JsonValueKind.Undefined or JsonValueKind.Null;

    public bool IsObject => element.ValueKind == JsonValueKind.Object;

    public bool IsArray => element.ValueKind == JsonValueKind.Array;

    public bool IsText => element.ValueKind == JsonValueKind.String;

    /// <summary>The name a Hugging Face part carries in <c>type</c>.</summary>
    public string Type => this["type"].Text;

    public string Text => IsText ? element.GetString()! : throw Malformed("must be a string");

    public int Integer => element.ValueKind == JsonValueKind.Number && element.TryGetInt32(out var value) ? value : throw Malformed("must be a whole number");

    public double Number => element.ValueKind == JsonValueKind.Number ? element.GetDouble() : throw Malformed("must be a number");

    /// <summary>A member; one that is missing is null.</summary>
    public JsonPart this[string name]
    {
        get
        {
            if (!IsObject) throw Malformed("must be an object");
            return new JsonPart(element.TryGetProperty(name, out var member) ? member : default, file, path.Length == 0 ? name : $"{path}.{name}");
        }
    }

    public bool Flag(bool ifMissing = false) => element.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ when IsNull => ifMissing,
        _ => throw Malformed("must be true or false"),
    };

    /// <summary>The items of an array; none when it is missing.</summary>
    public IEnumerable<JsonPart> Items()
    {
        if (IsNull) yield break;
        if (!IsArray) throw Malformed("must be an array");
        var index = 0;
        foreach (var item in element.EnumerateArray())
            yield return new JsonPart(item, file, $"{path}[{index++}]");
    }

    public IEnumerable<(string Name, JsonPart Value)> Members()
    {
        if (!IsObject) throw Malformed("must be an object");
        foreach (var member in element.EnumerateObject())
            yield return (member.Name, new JsonPart(member.Value, file, $"{path}.\"{member.Name}\""));
    }

    public SoraException Malformed(string what) => new(
        $"{file} is damaged: {(path.Length == 0 ? "the content" : path)} {(IsNull ? "is missing" : what)}. Fetch or write the file again.", ExitCode.InvalidInput);

    public SoraException Unsupported(string what) => new(
        $"{file} uses {path} {what}, which cannot be reproduced exactly. Use a byte-level or SentencePiece-style BPE tokenizer, or one of o200k, cl100k, bpe, byte.",
        ExitCode.InvalidInput);

    /// <summary>Parses a whole file.</summary>
    public static JsonPart Parse(byte[] bytes, string file)
    {
        try
        {
            return new JsonPart(JsonSerializer.Deserialize<JsonElement>(bytes), file, "");
        }
        catch (JsonException error)
        {
            throw new SoraException(
                $"{file} is not valid JSON (line {error.LineNumber + 1}, byte {error.BytePositionInLine + 1}). Fetch or write the file again.", ExitCode.InvalidInput, error);
        }
    }
}
