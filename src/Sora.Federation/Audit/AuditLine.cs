using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Sora.Federation.Audit;

/// <summary>
/// An entry as a line. The line is a JSON object whose last member is the hash of the object without it, byte for byte as it stands there:
/// reading the line, nobody needs to know how it was written to compute it again.
/// </summary>
internal static class AuditLine
{
    private const int Version = 1;
    private const string TimeFormat = "yyyy-MM-dd'T'HH:mm:ss.fffffff'Z'";
    private const int HashDigits = 64;

    /// <summary>What stands for the hash before the first entry.</summary>
    public static readonly string NoHash = new('0', HashDigits);

    private static readonly byte[] HashStart = ",\"hash\":\""u8.ToArray();
    private static readonly byte[] HashEnd = "\"}"u8.ToArray();
    private static readonly int HashMember = HashStart.Length + HashDigits + HashEnd.Length;
    private static readonly string[] Members = ["v", "seq", "time", "prev", "kind", "fields", "hash"];

    private static readonly JsonWriterOptions Writing = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private static readonly JsonSerializerOptions Options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower) },
    };

    private static readonly Dictionary<string, Type> Kinds = new()
    {
        ["begun"] = typeof(LogBegun),
        ["healed"] = typeof(LogHealed),
        ["checkpoint"] = typeof(LogCheckpoint),
        ["joined"] = typeof(PeerJoined),
        ["refused"] = typeof(PeerRefused),
        ["left"] = typeof(PeerLeft),
        ["asked"] = typeof(RoundAsked),
        ["decided"] = typeof(RoundDecided),
        ["sent"] = typeof(MessageSent),
        ["received"] = typeof(MessageReceived),
        ["spent"] = typeof(PrivacySpent),
        ["rejected"] = typeof(UpdateRejected),
        ["closed"] = typeof(RoundClosed),
    };

    private static readonly Dictionary<Type, string> Names = Kinds.ToDictionary(pair => pair.Value, pair => pair.Key);

    /// <summary>Writes an entry.</summary>
    /// <returns>The line without its end, and its hash.</returns>
    public static (byte[] Line, string Hash) Write(long sequence, DateTimeOffset time, string previous, AuditEvent happened)
    {
        using var stream = new MemoryStream();
        using (var writer = new Utf8JsonWriter(stream, Writing))
        {
            writer.WriteStartObject();
            writer.WriteNumber("v", Version);
            writer.WriteNumber("seq", sequence);
            writer.WriteString("time", time.UtcDateTime.ToString(TimeFormat, CultureInfo.InvariantCulture));
            writer.WriteString("prev", previous);
            writer.WriteString("kind", Names[happened.GetType()]);
            writer.WritePropertyName("fields");
            JsonSerializer.Serialize(writer, happened, happened.GetType(), Options);
            writer.WriteEndObject();
        }
        var body = stream.ToArray();
        var hash = Convert.ToHexStringLower(SHA256.HashData(body));
        return ([.. body.AsSpan(0, body.Length - 1), .. HashStart, .. Encoding.ASCII.GetBytes(hash), .. HashEnd], hash);
    }

    /// <summary>Reads a line.</summary>
    /// <param name="line">The line without its end.</param>
    /// <param name="storedHash">The hash it bears; null when it bears none.</param>
    /// <param name="problem">What is wrong; null when nothing is.</param>
    /// <returns>The entry; null when something is wrong.</returns>
    public static AuditEntry? Read(ReadOnlySpan<byte> line, out string? storedHash, out string? problem)
    {
        storedHash = StoredHash(line);
        problem = storedHash is null ? "is no entry: it does not end with a hash" : null;
        if (storedHash is null) return null;
        byte[] body = [.. line[..^HashMember], (byte)'}'];
        if (Convert.ToHexStringLower(SHA256.HashData(body)) != storedHash)
        {
            problem = "was edited: its content and its hash do not belong together";
            return null;
        }
        try
        {
            using var document = JsonDocument.Parse(line.ToArray());
            var root = document.RootElement;
            if (!root.EnumerateObject().Select(member => member.Name).SequenceEqual(Members)) throw new JsonException($"its members are not {string.Join(", ", Members)}");
            if (root.GetProperty("v").GetInt32() != Version) throw new JsonException($"it has version {root.GetProperty("v")}, this program knows {Version}");
            var kind = root.GetProperty("kind").GetString()!;
            var fields = root.GetProperty("fields").Clone();
            var time = DateTime.ParseExact(root.GetProperty("time").GetString()!, TimeFormat, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal);
            return new AuditEntry(root.GetProperty("seq").GetInt64(), time, root.GetProperty("prev").GetString()!, kind, fields, EventOf(kind, fields), storedHash);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException or ArgumentNullException)
        {
            problem = $"is no entry: {e.Message}";
            return null;
        }
    }

    private static string? StoredHash(ReadOnlySpan<byte> line)
    {
        if (line.Length <= HashMember) return null;
        var member = line[^HashMember..];
        var digits = member.Slice(HashStart.Length, HashDigits);
        return member.StartsWith(HashStart) && member.EndsWith(HashEnd) && !digits.ContainsAnyExcept("0123456789abcdef"u8) ? Encoding.ASCII.GetString(digits) : null;
    }

    // A newer program may record more; the chain holds all the same.
    private static AuditEvent? EventOf(string kind, JsonElement fields)
    {
        try
        {
            return Kinds.TryGetValue(kind, out var type) ? (AuditEvent?)fields.Deserialize(type, Options) : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
