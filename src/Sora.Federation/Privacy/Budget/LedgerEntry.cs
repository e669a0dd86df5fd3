using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Sora.Federation.Privacy;

/// <summary>
/// One line of a ledger: <c>open</c> (first; the budget), <c>reserve</c>, <c>settle</c> or <c>torn</c> (a reservation whose writing a crash cut
/// short; it counts). The order of the members is the order in the file: what a torn line cost stands before what nobody needs.
/// </summary>
internal sealed record LedgerEntry(
    [property: JsonPropertyOrder(0)] long Number,
    [property: JsonPropertyOrder(1)] string Kind,
    [property: JsonPropertyOrder(2)] double? NoiseMultiplier = null,
    [property: JsonPropertyOrder(3)] double? SampleRate = null,
    [property: JsonPropertyOrder(4)] long? Count = null,
    [property: JsonPropertyOrder(5)] long? Settles = null,
    [property: JsonPropertyOrder(6)] string? Scope = null,
    [property: JsonPropertyOrder(7)] double? Epsilon = null,
    [property: JsonPropertyOrder(8)] double? Delta = null,
    [property: JsonPropertyOrder(9)] string? Accountant = null,
    [property: JsonPropertyOrder(10)] string? Purpose = null,
    [property: JsonPropertyOrder(11)] DateTimeOffset? At = null)
{
    public const string Open = "open", Reserve = "reserve", Settle = "settle", Torn = "torn";

    private const string HashMember = ",\"hash\":\"";
    private const int HashDigits = 64;
    private static readonly JsonSerializerOptions _json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    };

    public static string NoHash { get; } = new('0', HashDigits);

    /// <summary>The releases of a reservation; null for the other kinds.</summary>
    [JsonIgnore]
    public PrivacyEvent? Event => Kind is Reserve or Torn && NoiseMultiplier is { } noise && SampleRate is { } rate && Count is { } count ? new PrivacyEvent(noise, rate, count) : null;

    /// <summary>The line with its line feed, and its hash, which covers the line before it too.</summary>
    public (byte[] Line, string Hash) Write(string previousHash)
    {
        var body = JsonSerializer.SerializeToUtf8Bytes(this, _json);
        var hash = HashOf(previousHash, body);
        return ([.. body.AsSpan(0, body.Length - 1), .. Encoding.ASCII.GetBytes($"{HashMember}{hash}\"}}\n")], hash);
    }

    /// <summary>The entry of a line without its line feed; null when the line is not what was written after that hash.</summary>
    public static (LedgerEntry Entry, string Hash)? Read(ReadOnlySpan<byte> line, string previousHash)
    {
        var end = line.Length - HashMember.Length - HashDigits - 2;
        if (end < 1) return null;
        byte[] body = [.. line[..end], (byte)'}'];
        var hash = HashOf(previousHash, body);
        if (!line[end..].SequenceEqual(Encoding.ASCII.GetBytes($"{HashMember}{hash}\"}}"))) return null;
        try
        {
            return JsonSerializer.Deserialize<LedgerEntry>(body, _json) is { } entry ? (entry, hash) : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>As much of an entry as a torn line tells; a number at its very end is not told, as digits may be missing.</summary>
    public static LedgerEntry ReadTorn(ReadOnlySpan<byte> line)
    {
        var entry = new LedgerEntry(-1, "");
        var reader = new Utf8JsonReader(line, isFinalBlock: false, default);
        try
        {
            while (reader.Read())
            {
                if (reader.TokenType != JsonTokenType.PropertyName) continue;
                var name = reader.GetString();
                if (!reader.Read()) break;
                entry = name switch
                {
                    "kind" => entry with { Kind = reader.GetString() ?? "" },
                    "noise_multiplier" => entry with { NoiseMultiplier = reader.GetDouble() },
                    "sample_rate" => entry with { SampleRate = reader.GetDouble() },
                    "count" => entry with { Count = reader.GetInt64() },
                    _ => entry,
                };
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            // Not what a ledger writes; what came before it stands.
        }
        return entry;
    }

    private static string HashOf(string previousHash, ReadOnlySpan<byte> body) =>
        Convert.ToHexStringLower(SHA256.HashData([.. Encoding.ASCII.GetBytes(previousHash), .. body]));
}
