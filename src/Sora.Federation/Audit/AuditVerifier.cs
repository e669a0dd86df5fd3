using Sora.Federation.Identity;

namespace Sora.Federation.Audit;

/// <summary>Something wrong with a log.</summary>
/// <param name="Line">The line, from 1; 0 for the log as a whole.</param>
/// <param name="Message">What is wrong with it.</param>
public sealed record AuditProblem(long Line, string Message)
{
    /// <inheritdoc/>
    public override string ToString() => Line > 0 ? $"line {Line} {Message}" : Message;
}

/// <summary>What the reader of a log knows from elsewhere.</summary>
/// <param name="Head">The hash of an entry that must be in it; null: none is known.</param>
/// <param name="Key">The key that must have signed its checkpoints; null: they are not checked.</param>
public sealed record AuditExpectations(string? Head = null, PublicKey? Key = null);

/// <summary>What became of a log.</summary>
/// <param name="Entries">Sound entries.</param>
/// <param name="Head">Hash of the last sound one; null: there is none.</param>
/// <param name="Checkpoints">Checkpoints among them.</param>
/// <param name="Problems">Everything wrong, in the order of the file.</param>
public sealed record AuditVerification(long Entries, string? Head, long Checkpoints, IReadOnlyList<AuditProblem> Problems)
{
    /// <summary>Whether nothing is wrong.</summary>
    public bool IsSound => Problems.Count == 0;
}

/// <summary>
/// Reads a log and finds every line that was edited, removed, moved, repeated or put in. What was cut off its end shows only to a reader
/// who knows a later head, or as a line that is torn.
/// </summary>
public sealed class AuditVerifier
{
    private readonly AuditExpectations _expected;
    private readonly List<AuditProblem> _problems = [];
    private long _line;
    private long _entries;
    private long _checkpoints;
    private AuditEntry? _last;
    private LogBegun? _begun;
    private bool _headSeen;
    private long _sinceCheckpoint;

    // Lines since the last sound entry that are none, and the hash the last of them bears.
    private int _broken;
    private string? _brokenHash;

    private AuditVerifier(AuditExpectations expected) => _expected = expected;

    /// <summary>Reads a log to its end.</summary>
    /// <param name="log">The log.</param>
    /// <param name="expected">What is known from elsewhere.</param>
    /// <param name="visit">Gets every sound entry once, in the order of the file.</param>
    public static AuditVerification Read(Stream log, AuditExpectations expected, Action<AuditEntry>? visit = null) => Scan(log, expected, visit).Verification;

    /// <summary>Reads a log to its end, for whoever goes on writing it.</summary>
    internal static AuditScan Scan(Stream log, AuditExpectations expected, Action<AuditEntry>? visit = null)
    {
        var verifier = new AuditVerifier(expected);
        long end = 0;
        byte[] torn = [];
        foreach (var (line, isWhole) in AuditLines.Of(log))
        {
            if (!isWhole)
            {
                torn = line;
                break;
            }
            end += line.Length + 1;
            if (verifier.Take(line) is { } entry) visit?.Invoke(entry);
        }
        var beforeEnd = verifier._problems.Count;
        if (torn.Length > 0) verifier.Report(verifier._line + 1, $"is torn: {torn.Length} bytes without an end. Whoever wrote it died over it, or is writing it just now, or its end was cut off. A site that opens the log again heals and records it");
        if (end == 0 && torn.Length == 0) verifier.Report(0, "the log is empty: not even its first line is there");
        if (expected.Key is not null && verifier._begun is not null && verifier._checkpoints == 0) verifier.Report(0, "the log bears no checkpoint of the given key");
        if (expected.Head is { } head && !verifier._headSeen) verifier.Report(0, $"the known head {head} is not in the log: its end was cut off, or it was written anew");
        return new AuditScan(verifier.Result(), verifier._last, verifier._begun, verifier._sinceCheckpoint, end, torn, beforeEnd > 0);
    }

    private AuditVerification Result() => new(_entries, _last?.Hash, _checkpoints, _problems);

    private AuditEntry? Take(byte[] line)
    {
        _line++;
        if (AuditLine.Read(line, out var storedHash, out var problem) is not { } entry)
        {
            Report(_line, line.Length == 0 ? "is empty" : problem!);
            (_broken, _brokenHash) = (_broken + 1, storedHash);
            return null;
        }
        _headSeen |= entry.Hash == _expected.Head;
        var before = _last?.Sequence ?? 0;
        if (entry.Sequence <= before)
        {
            // What follows is measured by the entry that was furthest, so that one moved line is not told of twice.
            Report(_line, entry.Sequence == before ? $"repeats entry {before}" : $"is entry {entry.Sequence}, which belongs before entry {before}: it was repeated or moved");
            return null;
        }
        var missing = entry.Sequence - before - 1 - _broken;
        var follows = entry.Sequence == before + 1 ? entry.Previous == (_last?.Hash ?? AuditLine.NoHash) : _broken > 0 && (_brokenHash is null || entry.Previous == _brokenHash);
        if (missing > 0) Report(_line, $"is entry {entry.Sequence}, and {(missing == 1 ? "an entry is" : $"{missing} entries are")} missing before it");
        else if (!follows) Report(_line, "does not continue the entry before it: one of the two was replaced");
        (_broken, _brokenHash, _last) = (0, null, entry);
        _entries++;
        Judge(entry);
        return entry;
    }

    private void Judge(AuditEntry entry)
    {
        if (entry.Sequence == 1)
        {
            _begun = entry.Event as LogBegun;
            if (_begun is null) Report(_line, "is the first and does not begin a log");
            else if (_expected.Key is { } key && _begun.Key != key.Fingerprint) Report(_line, $"says that {(_begun.Key is null ? "nobody" : _begun.Key)} signs this log, and the given key is {key.Fingerprint}");
        }
        if (entry.Kind == "checkpoint") JudgeCheckpoint(entry);
        else _sinceCheckpoint++;
        // The second entry signs the first, which says who signs and how often.
        var most = _checkpoints == 0 ? 1 : _begun?.CheckpointEvery ?? 0;
        if (_expected.Key is not null && _begun?.Key is not null && _sinceCheckpoint == most + 1) Report(_line, $"has no checkpoint among the {most} entries before it: the log was written anew from there on");
    }

    private void JudgeCheckpoint(AuditEntry entry)
    {
        _checkpoints++;
        _sinceCheckpoint = 0;
        if (entry.Event is not LogCheckpoint checkpoint || checkpoint.Head != entry.Previous) Report(_line, "is a checkpoint of something else than what stands before it");
        else if (_expected.Key is { } key && !AuditCheckpoint.IsSigned(key, entry.Sequence, checkpoint)) Report(_line, "is a checkpoint that the given key has not signed");
    }

    private void Report(long line, string message) => _problems.Add(new AuditProblem(line, message));
}

/// <summary>A log as whoever goes on writing it finds it.</summary>
/// <param name="Verification">What became of it.</param>
/// <param name="Last">The last entry.</param>
/// <param name="Begun">The first one.</param>
/// <param name="SinceCheckpoint">Entries since the last checkpoint.</param>
/// <param name="End">Where its last whole line ends.</param>
/// <param name="Torn">What stands behind that.</param>
/// <param name="IsBroken">Whether more is wrong than a torn end.</param>
internal sealed record AuditScan(AuditVerification Verification, AuditEntry? Last, LogBegun? Begun, long SinceCheckpoint, long End, byte[] Torn, bool IsBroken);
