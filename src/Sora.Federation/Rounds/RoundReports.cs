using System.Text.Json;
using Sora.Protocol.Runs;

namespace Sora.Federation.Rounds;

/// <summary>The run exists.</summary>
public sealed record FederationStarted(string Run, int Rounds, string Mode, string Strategy, int MinAvailableSites, bool SecureAggregation, bool DifferentialPrivacy) : RunEvent;

/// <summary>The coordinator was restarted and goes on.</summary>
public sealed record FederationResumed(string Run, int Round, int Rounds) : RunEvent;

/// <summary>A site is there.</summary>
public sealed record SiteJoined(string Site) : RunEvent;

/// <summary>A site takes no part in the job; <paramref name="Reason"/> says why.</summary>
public sealed record SiteTurnedAway(string Site, string Reason) : RunEvent;

/// <summary>A site is gone; <paramref name="Reason"/> says why. It may come back.</summary>
public sealed record SiteGone(string Site, string Reason) : RunEvent;

/// <summary>No round can begin.</summary>
public sealed record RoundWaiting(int Round, int AvailableSites, int MinAvailableSites, string Message) : RunEvent;

/// <summary>Sites were asked to train. Epsilon: spent in all, this attempt included.</summary>
public sealed record RoundBegan(int Round, int Attempt, int ModelVersion, IReadOnlyList<string> Cohort, int Target, int Quorum, double? Epsilon) : RunEvent;

/// <summary>A site's policy does not permit the round, or it cannot deliver; <paramref name="Reason"/> says which rule or why.</summary>
public sealed record SiteDeclined(string Site, int Round, int Attempt, string Reason) : RunEvent;

/// <summary>An update counts. Loss is the mean of the site's local training.</summary>
public sealed record UpdateCounted(string Site, int Round, int Attempt, double Loss, double Weight, int Staleness, double Seconds) : RunEvent;

/// <summary>An update does not count; <paramref name="Reason"/> says why.</summary>
public sealed record UpdateTurnedAway(string Site, int Round, int Attempt, string Reason) : RunEvent;

/// <summary>A stage of a secure round closed.</summary>
public sealed record SecureStageClosed(int Round, int Attempt, string Stage, IReadOnlyList<string> Answered, IReadOnlyList<string> DroppedOut) : RunEvent;

/// <summary>The deadline passed below the quorum and was put off once, because the quorum can still be reached.</summary>
public sealed record RoundExtended(int Round, int Attempt, int Updates, int Quorum, double Seconds) : RunEvent;

/// <summary>Nothing came of an attempt at a round.</summary>
public sealed record RoundGivenUp(int Round, int Attempt, string Reason) : RunEvent;

/// <summary>What a site had to do with a round.</summary>
/// <param name="Site">Its name.</param>
/// <param name="Outcome"><c>counted</c>, <c>outlier</c>, <c>refused</c>, <c>failed</c>, <c>banned</c>, <c>gone</c> or <c>late</c>.</param>
/// <param name="Reason">Why it did not count; empty where it did.</param>
/// <param name="Loss">Of its local training; null where nothing came.</param>
/// <param name="Weight">Its examples or tokens.</param>
/// <param name="Staleness">Global models its update was behind.</param>
/// <param name="Seconds">Until its update was there.</param>
public sealed record SiteShare(string Site, string Outcome, string Reason, double? Loss, double? Weight, int? Staleness, double? Seconds);

/// <summary>There is a new global model: a line for each site that was asked, the weighted mean of the losses, and epsilon spent in all.</summary>
public sealed record RoundCommitted(int Round, int Attempt, string ModelSha256, IReadOnlyList<SiteShare> Sites, double Loss, double Seconds, double? Epsilon) : RunEvent;

/// <summary>What a site measured on its held-out data.</summary>
public sealed record SiteEvaluation(string Site, double Loss, double Examples);

/// <summary>The sites have evaluated a global model. Loss is the mean over all examples; null: nobody answered.</summary>
public sealed record RoundEvaluated(int Round, double? Loss, IReadOnlyList<SiteEvaluation> Sites) : RunEvent;

/// <summary>All rounds are done.</summary>
public sealed record FederationFinished(int Rounds, string ModelSha256, double? Loss, double? EvalLoss, double? Epsilon) : RunEvent;

/// <summary>The run was asked to stop; the model is that of its last complete round.</summary>
public sealed record FederationStopped(int Round, string ModelSha256, string Reason) : RunEvent;

/// <summary>The run ended with an error; <paramref name="Message"/> says what happened and what to do.</summary>
public sealed record FederationFailed(int Round, string ModelSha256, string Message, int ExitCode) : RunEvent;

/// <summary>Reports of a federated run as JSON lines, as <see cref="RunEventJson"/> writes the others.</summary>
public static class RoundReportJson
{
    /// <summary>What the reports are called, after those of every run.</summary>
    public static IReadOnlyDictionary<Type, string> Names { get; } = new Dictionary<Type, string>(RunEventJson.Names)
    {
        [typeof(FederationStarted)] = "federation_started",
        [typeof(FederationResumed)] = "federation_resumed",
        [typeof(SiteJoined)] = "site_joined",
        [typeof(SiteTurnedAway)] = "site_turned_away",
        [typeof(SiteGone)] = "site_gone",
        [typeof(RoundWaiting)] = "round_waiting",
        [typeof(RoundBegan)] = "round_began",
        [typeof(SiteDeclined)] = "site_declined",
        [typeof(UpdateCounted)] = "update_counted",
        [typeof(UpdateTurnedAway)] = "update_turned_away",
        [typeof(SecureStageClosed)] = "secure_stage",
        [typeof(RoundExtended)] = "round_extended",
        [typeof(RoundGivenUp)] = "round_given_up",
        [typeof(RoundCommitted)] = "round",
        [typeof(RoundEvaluated)] = "round_evaluated",
        [typeof(FederationFinished)] = "federation_finished",
        [typeof(FederationStopped)] = "federation_stopped",
        [typeof(FederationFailed)] = "federation_failed",
    };

    private static readonly JsonSerializerOptions Options = RunEventJson.OptionsFor(Names);

    /// <summary>One report as one line, without the line end.</summary>
    public static string Write(RunEvent report) => JsonSerializer.Serialize(report, Options);

    /// <summary>What <see cref="Write"/> wrote.</summary>
    /// <exception cref="JsonException">It is no report, or one of a later release.</exception>
    public static RunEvent Read(string line) => JsonSerializer.Deserialize<RunEvent>(line, Options) ?? throw new JsonException("The line is null.");
}
