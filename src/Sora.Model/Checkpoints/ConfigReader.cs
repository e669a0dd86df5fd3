using System.Text.Json.Nodes;
using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints;

/// <summary>Typed reads of a configuration somebody else wrote; what is missing or odd is named together with the file.</summary>
internal sealed class ConfigReader(JsonObject json, string path)
{
    public string Text(string key) => Required(key).GetValue<string>();

    public int Whole(string key) => Required(key).GetValue<int>();

    public int Whole(string key, int missing) => json[key]?.GetValue<int>() ?? missing;

    public double Number(string key, double missing) => json[key]?.GetValue<double>() ?? missing;

    public bool Flag(string key, bool missing) => json[key]?.GetValue<bool>() ?? missing;

    /// <summary>A token id; transformers also allows a list, of which the first counts.</summary>
    public int Token(string key, int? missing = null) => json[key] switch
    {
        JsonArray { Count: > 0 } many => many[0]!.GetValue<int>(),
        null when missing is { } id => id,
        _ => Whole(key),
    };

    public ConfigReader? Section(string key) => json[key] is JsonObject section ? new ConfigReader(section, path) : null;

    public string Json(string key) => Required(key).ToJsonString();

    /// <summary>Refuses a network that differs from ours in a way the settings cannot express.</summary>
    public void MustBe(string key, string missing, params string[] allowed)
    {
        var value = !json.TryGetPropertyValue(key, out var node) ? missing
            : node is JsonValue text && text.TryGetValue<string>(out var plain) ? plain
            : node?.ToJsonString() ?? "null";
        if (!allowed.Contains(value))
            throw Error($"has {key} {value}, which this program's decoder does not have (only {string.Join(" or ", allowed)})");
    }

    public SoraException Error(string what) => new($"{path} {what}.", ExitCode.InvalidInput);

    private JsonNode Required(string key) => json[key] ?? throw Error($"lacks '{key}'");
}
