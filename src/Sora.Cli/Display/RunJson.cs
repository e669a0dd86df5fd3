using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Sora.Cli.Train;
using Sora.Protocol.Runs;

namespace Sora.Cli.Display;

/// <summary>
/// Run events and the program's own as JSON, one object a line, keys in snake_case after <c>"event"</c>. A number that is not
/// finite is written as the string "NaN", "Infinity" or "-Infinity": JSON has no other way and hiding it would be a lie.
/// </summary>
internal static class RunJson
{
    private static readonly Dictionary<Type, string> Names = new(RunEventJson.Names)
    {
        [typeof(RunPlan)] = "plan",
        [typeof(DataProgress)] = "data_progress",
        [typeof(DataReady)] = "data",
        [typeof(CoordinatorListening)] = "listening",
        [typeof(WorkerRestarting)] = "worker_restarting",
        [typeof(WorkerStaysDown)] = "worker_stays_down",
        [typeof(TextSampled)] = "sample",
        [typeof(LossCurveDrawn)] = "loss_curve",
    };

    private static readonly JsonSerializerOptions Options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        TypeInfoResolver = new DefaultJsonTypeInfoResolver { Modifiers = { NameEvents } },
    };

    /// <summary>One event as one line, without the line end.</summary>
    public static string Write(RunEvent happened) => JsonSerializer.Serialize(happened, Options);

    private static void NameEvents(JsonTypeInfo type)
    {
        if (type.Type != typeof(RunEvent)) return;
        type.PolymorphismOptions = new JsonPolymorphismOptions { TypeDiscriminatorPropertyName = "event" };
        foreach (var (derived, name) in Names) type.PolymorphismOptions.DerivedTypes.Add(new JsonDerivedType(derived, name));
    }
}
