using System.Text.Json.Serialization;
using Sora.Federation.Policies;

namespace Sora.Federation.Audit;

/// <summary>Something worth recording. The properties are the entry's fields.</summary>
public abstract record AuditEvent;

/// <summary>Something that belongs to a job.</summary>
public interface IOfJob
{
    /// <summary>The job's name.</summary>
    string Job { get; }
}

/// <summary>The first entry of a log.</summary>
/// <param name="Owner">Whose log it is.</param>
/// <param name="Key">Fingerprint of the key that signs its checkpoints; null: nothing does.</param>
/// <param name="CheckpointEvery">Entries between two checkpoints at most.</param>
public sealed record LogBegun(string Owner, string? Key, int CheckpointEvery) : AuditEvent;

/// <summary>The end of the log was torn when it was opened: whoever wrote it had died. What was there was taken out and is kept here.</summary>
/// <param name="Bytes">How much it was.</param>
/// <param name="Torn">What it was, in Base64.</param>
public sealed record LogHealed(int Bytes, string Torn) : AuditEvent;

/// <summary>A signature over everything before it.</summary>
/// <param name="Head">Hash of the entry before.</param>
/// <param name="Key">Fingerprint of the key that signed.</param>
/// <param name="Signature">The signature, in Base64.</param>
public sealed record LogCheckpoint(string Head, string Key, string Signature) : AuditEvent;

/// <summary>Somebody proved who they are and was let in.</summary>
/// <param name="Run">The run.</param>
/// <param name="Name">Their name.</param>
/// <param name="Fingerprint">Fingerprint of their key.</param>
public sealed record PeerJoined(string Run, string Name, string Fingerprint) : AuditEvent;

/// <summary>Somebody was not let in.</summary>
/// <param name="Run">The run.</param>
/// <param name="Fingerprint">Fingerprint of the key they named.</param>
/// <param name="Reason">Why.</param>
public sealed record PeerRefused(string Run, string Fingerprint, string Reason) : AuditEvent;

/// <summary>Somebody went.</summary>
/// <param name="Run">The run.</param>
/// <param name="Name">Their name.</param>
/// <param name="Reason">Why.</param>
public sealed record PeerLeft(string Run, string Name, string Reason) : AuditEvent;

/// <summary>A job asked something of the site.</summary>
/// <param name="Request">What.</param>
public sealed record RoundAsked(RoundRequest Request) : AuditEvent, IOfJob
{
    /// <inheritdoc/>
    [JsonIgnore]
    public string Job => Request.Job;
}

/// <summary>The site decided.</summary>
/// <param name="Job">The job.</param>
/// <param name="Round">The round.</param>
/// <param name="IsAllowed">Whether it takes part.</param>
/// <param name="BrokenRules">The rules that the request breaks, as text.</param>
public sealed record RoundDecided(string Job, int Round, bool IsAllowed, IReadOnlyList<string> BrokenRules) : AuditEvent, IOfJob;

/// <summary>A message left.</summary>
/// <param name="Job">The job.</param>
/// <param name="Round">The round.</param>
/// <param name="To">Who it went to.</param>
/// <param name="Type">Its type.</param>
/// <param name="Bytes">Its length.</param>
/// <param name="ContentHash">SHA-256 of its content.</param>
public sealed record MessageSent(string Job, int Round, string To, string Type, long Bytes, string ContentHash) : AuditEvent, IOfJob;

/// <summary>A message arrived.</summary>
/// <param name="Job">The job.</param>
/// <param name="Round">The round.</param>
/// <param name="From">Who it came from.</param>
/// <param name="Type">Its type.</param>
/// <param name="Bytes">Its length.</param>
/// <param name="ContentHash">SHA-256 of its content.</param>
public sealed record MessageReceived(string Job, int Round, string From, string Type, long Bytes, string ContentHash) : AuditEvent, IOfJob;

/// <summary>Privacy was spent.</summary>
/// <param name="Job">The job.</param>
/// <param name="Round">The round.</param>
/// <param name="Epsilon">What the job has spent so far, this round included.</param>
/// <param name="Delta">The delta that epsilon holds for.</param>
public sealed record PrivacySpent(string Job, int Round, double Epsilon, double Delta) : AuditEvent, IOfJob;

/// <summary>An update was not taken into the sum.</summary>
/// <param name="Job">The job.</param>
/// <param name="Round">The round.</param>
/// <param name="Site">Whose it was.</param>
/// <param name="Reason">Why.</param>
public sealed record UpdateRejected(string Job, int Round, string Site, string Reason) : AuditEvent, IOfJob;

/// <summary>A round ended.</summary>
/// <param name="Job">The job.</param>
/// <param name="Round">The round.</param>
/// <param name="Sites">The sites in the sum.</param>
/// <param name="ModelHash">Hash of the global weights after it.</param>
public sealed record RoundClosed(string Job, int Round, IReadOnlyList<string> Sites, string ModelHash) : AuditEvent, IOfJob;
