using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace Sora.Protocol.Runs;

/// <summary>
/// Run events as JSON, one object a line, keys in snake_case after <c>"event"</c>: how they travel between processes. A number
/// that is not finite is the string "NaN", "Infinity" or "-Infinity". The list of events is closed: no type names are read.
/// </summary>
public static class RunEventJson
{
    /// <summary>What the events are called.</summary>
    public static IReadOnlyDictionary<Type, string> Names { get; } = new Dictionary<Type, string>
    {
        [typeof(RunStarted)] = "started",
        [typeof(WorkerJoined)] = "worker_joined",
        [typeof(WorkerRefused)] = "worker_refused",
        [typeof(WorkerLeft)] = "worker_left",
        [typeof(RunWaiting)] = "waiting",
        [typeof(GenerationFormed)] = "generation",
        [typeof(StepCommitted)] = "step",
        [typeof(Evaluated)] = "evaluation",
        [typeof(CheckpointSaved)] = "checkpoint",
        [typeof(RunWarning)] = "warning",
        [typeof(RunFinished)] = "finished",
        [typeof(RunStopped)] = "stopped",
        [typeof(RunFailed)] = "failed",
    };

    private static readonly JsonSerializerOptions Options = OptionsFor(Names);

    /// <summary>How events of these types are written: for programs that have events of their own beside those of a run.</summary>
    /// <param name="names">What the events are called.</param>
    public static JsonSerializerOptions OptionsFor(IReadOnlyDictionary<Type, string> names) => new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        TypeInfoResolver = new DefaultJsonTypeInfoResolver { Modifiers = { type => NameEvents(type, names) } },
    };

    /// <summary>One event as one line, without the line end.</summary>
    public static string Write(RunEvent happened) => JsonSerializer.Serialize(happened, Options);

    /// <summary>What <see cref="Write"/> wrote; null for an event of a later release, which this one cannot show.</summary>
    /// <exception cref="JsonException">It is not an event.</exception>
    public static RunEvent? Read(string line)
    {
        using var document = JsonDocument.Parse(line);
        return document.RootElement.TryGetProperty("event", out var name) && Names.Values.Contains(name.GetString())
            ? document.RootElement.Deserialize<RunEvent>(Options)
            : null;
    }

    private static void NameEvents(JsonTypeInfo type, IReadOnlyDictionary<Type, string> names)
    {
        if (type.Type != typeof(RunEvent)) return;
        type.PolymorphismOptions = new JsonPolymorphismOptions { TypeDiscriminatorPropertyName = "event" };
        foreach (var (derived, name) in names) type.PolymorphismOptions.DerivedTypes.Add(new JsonDerivedType(derived, name));
    }
}
