using System.Text.Json;
using System.Text.Json.Serialization;

namespace Sora.Federation.Audit;

/// <summary>A round that a site refused.</summary>
/// <param name="Round">The round.</param>
/// <param name="Time">When.</param>
/// <param name="BrokenRules">The rules it broke.</param>
public sealed record RefusedRound(int Round, DateTimeOffset Time, IReadOnlyList<string> BrokenRules);

/// <summary>An update that did not go into the sum.</summary>
/// <param name="Round">The round.</param>
/// <param name="Site">Whose it was.</param>
/// <param name="Reason">Why.</param>
public sealed record RejectedUpdate(int Round, string Site, string Reason);

/// <summary>Messages of one type that left.</summary>
/// <param name="Type">The type.</param>
/// <param name="Messages">How many.</param>
/// <param name="Bytes">Their bytes.</param>
public sealed record MessagesOut(string Type, long Messages, long Bytes);

/// <summary>What a log tells of one job.</summary>
public sealed record JobReport
{
    /// <summary>The job's name.</summary>
    public required string Job { get; init; }

    /// <summary>Its first entry.</summary>
    public required DateTimeOffset From { get; init; }

    /// <summary>Its last entry.</summary>
    public required DateTimeOffset Until { get; init; }

    /// <summary>Fingerprints of the coordinators that asked.</summary>
    public required IReadOnlyList<string> Coordinators { get; init; }

    /// <summary>Data sets that were asked for in rounds that were allowed.</summary>
    public required IReadOnlyList<string> DataSets { get; init; }

    /// <summary>Rounds that were asked for.</summary>
    public required int RoundsAsked { get; init; }

    /// <summary>Rounds that the site took part in.</summary>
    public required int RoundsAllowed { get; init; }

    /// <summary>Rounds that were closed with a new model.</summary>
    public required int RoundsClosed { get; init; }

    /// <summary>Epsilon spent; null: none was recorded.</summary>
    public required double? Epsilon { get; init; }

    /// <summary>The largest delta that epsilon holds for; null: none was recorded.</summary>
    public required double? Delta { get; init; }

    /// <summary>Bytes that left.</summary>
    public required long BytesOut { get; init; }

    /// <summary>The same by type of message.</summary>
    public required IReadOnlyList<MessagesOut> Out { get; init; }

    /// <summary>Rounds that were refused.</summary>
    public required IReadOnlyList<RefusedRound> Refused { get; init; }

    /// <summary>Updates that did not go into a sum.</summary>
    public required IReadOnlyList<RejectedUpdate> Rejected { get; init; }

    /// <summary>Hash of the global weights after the last closed round; null: none.</summary>
    public required string? ModelHash { get; init; }
}

/// <summary>What a log says to those who must answer for it.</summary>
/// <param name="Owner">Whose log it is; null: its beginning is missing.</param>
/// <param name="IsIntact">Whether verification found nothing.</param>
/// <param name="Entries">Entries in it.</param>
/// <param name="Head">Hash of the last one.</param>
/// <param name="Checkpoints">Signed checkpoints in it.</param>
/// <param name="CheckedKey">The key the checkpoints were checked with; null: they were not.</param>
/// <param name="Problems">What verification found.</param>
/// <param name="Jobs">The jobs, in the order they came.</param>
public sealed record ComplianceReport(
    string? Owner, bool IsIntact, long Entries, string? Head, long Checkpoints, string? CheckedKey, IReadOnlyList<string> Problems, IReadOnlyList<JobReport> Jobs)
{
    private static readonly JsonSerializerOptions Options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        WriteIndented = true,
        NewLine = "\n",
    };

    /// <summary>Reads a log into a report.</summary>
    public static ComplianceReport Of(Stream log, AuditExpectations expected)
    {
        string? owner = null;
        var jobs = new Dictionary<string, JobTally>();
        var verification = AuditVerifier.Read(log, expected, entry =>
        {
            if (entry.Event is LogBegun begun) owner ??= begun.Owner;
            if (entry.Event is not IOfJob ofJob) return;
            if (!jobs.TryGetValue(ofJob.Job, out var tally)) jobs.Add(ofJob.Job, tally = new JobTally(ofJob.Job, entry.Time));
            tally.Take(entry);
        });
        return new ComplianceReport(
            owner, verification.IsSound, verification.Entries, verification.Head, verification.Checkpoints, expected.Key?.Fingerprint,
            verification.Problems.Select(problem => problem.ToString()).ToArray(), jobs.Values.Select(tally => tally.Report()).ToArray());
    }

    /// <summary>The report as JSON.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, Options);
}
