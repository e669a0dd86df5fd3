using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Serialization;
using Sora.Federation.Rounds;

namespace Sora.Federation.Wire;

/// <summary>
/// The federated settings as canonical JSON: every key explicit, always in the same order, so that equal settings are equal bytes. A key that
/// is not known is refused, because the one that is ignored could be the one that matters.
/// </summary>
internal static class FederationSettingsJson
{
    private static readonly JsonSerializerOptions Options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        AllowDuplicateProperties = false,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower, allowIntegerValues: false) },
    };

    public static string Write(FederationSettings settings)
    {
        try
        {
            return JsonSerializer.Serialize(settings, Options);
        }
        catch (Exception e) when (e is ArgumentException or JsonException)
        {
            throw new InvalidRoundMessageException($"These federated settings cannot be written: {e.Message}", e);
        }
    }

    public static FederationSettings Read(string json)
    {
        try
        {
            var settings = JsonSerializer.Deserialize<FederationSettings>(json, Options) ?? throw new JsonException("they are null");
            // The library sorts by the culture's rules unless told otherwise.
            var parameters = settings.Strategy.Parameters.ToImmutableSortedDictionary(StringComparer.Ordinal);
            return settings with { Strategy = settings.Strategy with { Parameters = parameters } };
        }
        catch (JsonException e)
        {
            throw new InvalidRoundMessageException($"Federated settings cannot be read: {e.Message}", e);
        }
    }
}
