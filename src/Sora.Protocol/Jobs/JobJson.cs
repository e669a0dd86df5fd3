using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Sora.Protocol.Jobs;

/// <summary>
/// The resolved job as canonical JSON: every key explicit, in the order of <see cref="JobSchema"/>, so that equal jobs are
/// equal bytes. What is sent to workers and kept in checkpoints.
/// </summary>
public static class JobJson
{
    // Paths and prompts in other scripts stay readable; the text is never put into a web page.
    private static readonly JsonWriterOptions Compact = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
    private static readonly JsonWriterOptions Pretty = Compact with { Indented = true, NewLine = "\n" };

    /// <summary>Writes a job.</summary>
    public static string Write(TrainingJob job, bool indented = false) => Encoding.UTF8.GetString(Bytes(job, _ => true, indented ? Pretty : Compact));

    /// <summary>Reads what <see cref="Write"/> wrote. Keys that are absent (an older writer) get their defaults.</summary>
    /// <exception cref="SoraException">It is not a job.</exception>
    public static TrainingJob Parse(string json)
    {
        var values = new Dictionary<string, object?>();
        try
        {
            using var document = JsonDocument.Parse(json);
            Read(document.RootElement, JobSchema.Keys, values);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            throw new SoraException($"The stored job cannot be read: {e.Message}", ExitCode.InvalidInput, e);
        }
        return JobSchema.Build(values);
    }

    internal static byte[] Bytes(TrainingJob job, Func<JobKey, bool> include, JsonWriterOptions options = default)
    {
        using var stream = new MemoryStream();
        using (var writer = new Utf8JsonWriter(stream, options))
            WriteObject(writer, job, JobSchema.Keys, include);
        return stream.ToArray();
    }

    private static void WriteObject(Utf8JsonWriter writer, TrainingJob job, IReadOnlyList<JobKey> keys, Func<JobKey, bool> include)
    {
        writer.WriteStartObject();
        foreach (var key in keys)
        {
            if (!key.IsSection && !include(key)) continue;
            writer.WritePropertyName(key.Name);
            if (key.IsSection) WriteObject(writer, job, key.Children, include);
            else WriteValue(writer, key.ValueIn(job));
        }
        writer.WriteEndObject();
    }

    private static void WriteValue(Utf8JsonWriter writer, object? value)
    {
        switch (value)
        {
            case null: writer.WriteNullValue(); break;
            case bool flag: writer.WriteBooleanValue(flag); break;
            case int number: writer.WriteNumberValue(number); break;
            case long number: writer.WriteNumberValue(number); break;
            case double number: writer.WriteNumberValue(number); break;
            case string text: writer.WriteStringValue(text); break;
            case WorkerRange { IsCount: true } workers: writer.WriteNumberValue(workers.Most); break;
            case WorkerRange workers: writer.WriteStringValue(workers.ToString()); break;
            case Enum choice: writer.WriteStringValue(JobKey.Spell(choice)); break;
            case IReadOnlyList<string> list:
                writer.WriteStartArray();
                foreach (var text in list) writer.WriteStringValue(text);
                writer.WriteEndArray();
                break;
            default: throw new InvalidOperationException($"A job value of type {value.GetType()} has no JSON form.");
        }
    }

    private static void Read(JsonElement json, IReadOnlyList<JobKey> keys, Dictionary<string, object?> values)
    {
        foreach (var member in json.EnumerateObject())
        {
            var key = keys.FirstOrDefault(key => key.Name == member.Name)
                ?? throw new FormatException($"it has a key '{member.Name}' that this version of sora does not know; use the version that wrote it.");
            if (key.IsSection) Read(member.Value, key.Children, values);
            else values[key.Path] = ReadValue(member.Value, key);
        }
    }

    private static object? ReadValue(JsonElement json, JobKey key) => key.ValueType switch
    {
        _ when json.ValueKind == JsonValueKind.Null && key.IsOptional => null,
        var type when type == typeof(int) => json.GetInt32(),
        var type when type == typeof(long) => json.GetInt64(),
        var type when type == typeof(double) => json.GetDouble(),
        var type when type == typeof(bool) => json.GetBoolean(),
        var type when type == typeof(WorkerRange) && json.ValueKind == JsonValueKind.Number => WorkerRange.Of(json.GetInt32()),
        var type when type == typeof(WorkerRange) => WorkerRange.Parse(json.GetString()!) ?? throw new FormatException($"{key.Path} is '{json.GetString()}', not {key.TypeName}."),
        { IsEnum: true } type => key.Choices.Contains(json.GetString())
            ? Enum.Parse(type, json.GetString()!, ignoreCase: true)
            : throw new FormatException($"{key.Path} is '{json.GetString()}', not one of {key.TypeName}."),
        var type when type == typeof(string) => json.GetString() ?? throw new FormatException($"{key.Path} is null."),
        _ => json.EnumerateArray().Select(item => item.GetString() ?? throw new FormatException($"{key.Path} holds a null.")).ToArray(),
    };
}
