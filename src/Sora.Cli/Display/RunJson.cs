using System.Text.Json;
using Sora.Cli.Federate;
using Sora.Cli.Train;
using Sora.Federation.Rounds;
using Sora.Protocol.Runs;

namespace Sora.Cli.Display;

/// <summary>
/// Run events and the program's own as JSON, one object a line, keys in snake_case after <c>"event"</c>. A number that is not
/// finite is written as the string "NaN", "Infinity" or "-Infinity": JSON has no other way and hiding it would be a lie.
/// </summary>
internal static class RunJson
{
    private static readonly Dictionary<Type, string> Names = new(RoundReportJson.Names)
    {
        [typeof(RunPlan)] = "plan",
        [typeof(DataProgress)] = "data_progress",
        [typeof(DataReady)] = "data",
        [typeof(CoordinatorListening)] = "listening",
        [typeof(WorkerRestarting)] = "worker_restarting",
        [typeof(WorkerStaysDown)] = "worker_stays_down",
        [typeof(TextSampled)] = "sample",
        [typeof(LossCurveDrawn)] = "loss_curve",
        [typeof(SitesAwaited)] = "sites_awaited",
        [typeof(SiteCompared)] = "site_compared",
    };

    private static readonly JsonSerializerOptions Options = RunEventJson.OptionsFor(Names);

    /// <summary>One event as one line, without the line end.</summary>
    public static string Write(RunEvent happened) => JsonSerializer.Serialize(happened, Options);
}
