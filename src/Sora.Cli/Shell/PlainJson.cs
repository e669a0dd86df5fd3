using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Sora.Cli.Shell;

/// <summary>The results of verbs as one JSON object a line, keys in snake_case.</summary>
internal static class PlainJson
{
    private static readonly JsonSerializerOptions Options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>One object, without the line end.</summary>
    public static string Write<T>(T value) => JsonSerializer.Serialize(value, Options);
}
