using Sora.Federation.Identity;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Audit;

/// <summary>
/// Writes a log, one entry after another, each on the disk before <see cref="Append"/> returns. What cannot be recorded throws, so that
/// whoever asks for the record first and acts then does nothing unrecorded.
/// </summary>
public sealed class AuditLog : IDisposable
{
    /// <summary>Entries between two checkpoints, when nobody says otherwise.</summary>
    public const int UsualCheckpointEvery = 64;

    private readonly Lock _lock = new();
    private readonly string _path;
    private readonly FileStream _turn;
    private readonly FileStream _file;
    private readonly TimeProvider _time;
    private readonly IdentityKey? _key;
    private int _checkpointEvery;
    private long _sinceCheckpoint;
    private long _sequence;
    private bool _failed;

    private AuditLog(string path, FileStream turn, FileStream file, TimeProvider time, IdentityKey? key) => (_path, _turn, _file, _time, _key) = (path, turn, file, time, key);

    /// <summary>Hash of the last entry. Kept elsewhere, it shows later that nothing was cut off.</summary>
    public string Head { get; private set; } = AuditLine.NoHash;

    /// <summary>Entries written so far.</summary>
    public long Entries => _sequence;

    /// <summary>Opens a log to go on with it, or begins one. A torn end is taken out, which is recorded.</summary>
    /// <param name="path">The log.</param>
    /// <param name="owner">Whose it is, when it begins.</param>
    /// <param name="time">The clock.</param>
    /// <param name="key">Signs checkpoints; the same as when it began. Null: none.</param>
    /// <param name="checkpointEvery">Entries between two checkpoints at most, when it begins.</param>
    /// <exception cref="SoraException">It is in use, it cannot be read or written, or it was tampered with.</exception>
    public static AuditLog Open(string path, string owner, TimeProvider time, IdentityKey? key = null, int checkpointEvery = UsualCheckpointEvery)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(checkpointEvery, 1);
        FileStream? turn = null;
        FileStream? file = null;
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
            // A lock file of its own: locked itself, the log could not be verified while it is written.
            turn = Own(path + ".lock", FileShare.None);
            file = Own(path, FileShare.Read);
            var log = new AuditLog(path, turn, file, time, key);
            log.Resume(owner, checkpointEvery);
            (turn, file) = (null, null);
            return log;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"The audit log {path} cannot be opened: {e.Message} Nothing is done that cannot be recorded.", ExitCode.Failure, e);
        }
        finally
        {
            file?.Dispose();
            turn?.Dispose();
        }
    }

    /// <summary>Records something.</summary>
    /// <returns>The hash of the entry.</returns>
    /// <exception cref="SoraException">It cannot be recorded.</exception>
    public string Append(AuditEvent happened)
    {
        lock (_lock)
        {
            var hash = Write(happened);
            CheckpointIfDue();
            return hash;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _file.Dispose();
        _turn.Dispose();
    }

    private void Resume(string owner, int checkpointEvery)
    {
        var scan = AuditVerifier.Scan(_file, new AuditExpectations(Key: _key?.Public));
        if (scan.Begun is { } begun && begun.Key != _key?.Public.Fingerprint)
            throw new SoraException($"The audit log {_path} is signed by {begun.Key ?? "nobody"}, not by {_key?.Public.Fingerprint ?? "nobody"}. Give that key, or name another file for a new log.", ExitCode.Usage);
        if (scan.IsBroken)
            throw new SoraException($"The audit log {_path} is broken: {scan.Verification.Problems[0]}. Keep it as evidence, find out who did it ('sora audit verify {_path}'), and name another file for a new log.", ExitCode.InvalidInput);
        _file.SetLength(scan.End);
        _file.Position = scan.End;
        (_sequence, _sinceCheckpoint) = (scan.Last?.Sequence ?? 0, scan.SinceCheckpoint);
        Head = scan.Last?.Hash ?? AuditLine.NoHash;
        _checkpointEvery = scan.Begun?.CheckpointEvery ?? checkpointEvery;
        if (scan.Begun is null) Write(new LogBegun(owner, _key?.Public.Fingerprint, checkpointEvery));
        // Where a crash came between an entry and its checkpoint, the checkpoint comes before anything else.
        if (scan.Verification.Checkpoints == 0) Checkpoint();
        CheckpointIfDue();
        if (scan.Torn.Length > 0) Append(new LogHealed(scan.Torn.Length, Convert.ToBase64String(scan.Torn)));
    }

    private void CheckpointIfDue()
    {
        if (_sinceCheckpoint >= _checkpointEvery) Checkpoint();
    }

    private void Checkpoint()
    {
        if (_key is null) return;
        Write(AuditCheckpoint.Sign(_key, _sequence + 1, Head));
        _sinceCheckpoint = 0;
    }

    private string Write(AuditEvent happened)
    {
        if (_failed) throw new SoraException($"The audit log {_path} could not be written before, so nothing is recorded any more. Start again when the disk is in order.", ExitCode.Failure);
        var (line, hash) = AuditLine.Write(_sequence + 1, _time.GetUtcNow(), Head, happened);
        try
        {
            _file.Write([.. line, (byte)'\n']);
            _file.Flush(flushToDisk: true);
        }
        catch (IOException e)
        {
            // Half of the line may be on the disk: whoever opens the log next sees to it.
            _failed = true;
            throw new SoraException($"The audit log {_path} cannot be written: {e.Message} Nothing is done that cannot be recorded.", ExitCode.Failure, e);
        }
        (_sequence, Head) = (_sequence + 1, hash);
        _sinceCheckpoint++;
        return hash;
    }

    private static FileStream Own(string path, FileShare share)
    {
        var options = new FileStreamOptions { Mode = FileMode.OpenOrCreate, Access = FileAccess.ReadWrite, Share = share };
        // It tells who trained on what.
        if (!OperatingSystem.IsWindows()) options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        return new FileStream(path, options);
    }
}
