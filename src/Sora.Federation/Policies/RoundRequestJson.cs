using System.Text.Json;
using System.Text.Json.Serialization;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Policies;

/// <summary>Requests as JSON, keys in snake_case. What is not known is refused: a key that is ignored could be the one that matters.</summary>
public static class RoundRequestJson
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

    /// <summary>Reads a request.</summary>
    /// <exception cref="SoraException">It is none.</exception>
    public static RoundRequest Parse(string json)
    {
        try
        {
            var request = JsonSerializer.Deserialize<RoundRequest>(json, Options);
            // The library does not look for null inside lists.
            var isWhole = request is not null && !request.DataSets.Contains(null!) && !request.Messages.Contains(null!) && !request.Metrics.Contains(null!);
            return isWhole ? request! : throw new JsonException("null stands where a value belongs");
        }
        catch (JsonException e)
        {
            throw new SoraException($"The request cannot be read: {e.Message}", ExitCode.InvalidInput, e);
        }
    }

    /// <summary>Writes a request.</summary>
    public static string Write(RoundRequest request) => JsonSerializer.Serialize(request, Options);
}
