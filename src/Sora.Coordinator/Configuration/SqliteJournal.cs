using System.Data.Common;
using Microsoft.Data.Sqlite;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Configuration;

/// <summary>The journal of a coordinator that is alone: a file in its state folder.</summary>
internal sealed class SqliteJournal(CoordinatorOptions options) : Journal
{
    // What a start and the first decisions of a run need, and more.
    private const int ProbeBytes = 64 << 10;

    // How Linux, macOS and Windows say that another process holds a file.
    private const int EAgain = 11;
    private const int EAgainOfBsd = 35;
    private const int SharingViolation = unchecked((int)0x80070020);

    private FileStream? _lock;

    public override string ProviderName => "SQLite.MS";

    public override string ConnectionString { get; } =
        new SqliteConnectionStringBuilder { DataSource = options.JournalPath, DefaultTimeout = 30 }.ConnectionString;

    public override bool CreatesTable => true;

    public override void Prepare()
    {
        try
        {
            Directory.CreateDirectory(options.StateDir);
            _lock = Lock();
            using var connection = Connect();
            connection.Open();
            using var command = connection.CreateCommand();
            // Readers and the writer do not block each other.
            command.CommandText = "PRAGMA journal_mode = WAL";
            command.ExecuteNonQuery();
            // A disk that is full lets the database be opened, and the first run then wait for ever.
            command.CommandText = $"CREATE TABLE IF NOT EXISTS probe (content BLOB); INSERT INTO probe VALUES (zeroblob({ProbeBytes})); DROP TABLE probe";
            command.ExecuteNonQuery();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or SqliteException)
        {
            throw new SoraException($"The coordinator cannot use {options.JournalPath}: {exception.Message} Choose a state folder you can write to, with space left; a damaged journal can be moved away, runs then start without their history.", ExitCode.Usage, exception);
        }
    }

    /// <summary>Closes pooled connections, which folds the write-ahead log into the file.</summary>
    public override void Close()
    {
        using var connection = new SqliteConnection(ConnectionString);
        SqliteConnection.ClearPool(connection);
        _lock?.Dispose();
    }

    // Two coordinators would both take up the same runs. The system gives the claim up when the process ends, however it ends.
    private FileStream Lock()
    {
        try
        {
            return new FileStream(Path.Combine(options.StateDir, "coordinator.lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException exception) when (exception.HResult is EAgain or EAgainOfBsd or SharingViolation)
        {
            throw new SoraException($"Another coordinator works on the state folder {options.StateDir}. End it first, or give this one a folder of its own; several that share runs need PostgreSQL (--journal).", ExitCode.Usage, exception);
        }
    }

    protected override string TableExists => "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'journal'";

    protected override DbConnection Connect() => new SqliteConnection(ConnectionString);
}
