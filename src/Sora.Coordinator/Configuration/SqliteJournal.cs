using System.Data.Common;
using Microsoft.Data.Sqlite;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Configuration;

/// <summary>The journal of a coordinator that is alone: a file in its state folder.</summary>
internal sealed class SqliteJournal(CoordinatorOptions options) : Journal
{
    public override string ProviderName => "SQLite.MS";

    public override string ConnectionString { get; } =
        new SqliteConnectionStringBuilder { DataSource = options.JournalPath, DefaultTimeout = 30 }.ConnectionString;

    public override bool CreatesTable => true;

    public override void Prepare()
    {
        try
        {
            Directory.CreateDirectory(options.StateDir);
            using var connection = Connect();
            connection.Open();
            using var command = connection.CreateCommand();
            // Readers and the writer do not block each other, and two coordinators may share the folder.
            command.CommandText = "PRAGMA journal_mode = WAL";
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
    }

    protected override string TableExists => "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'journal'";

    protected override DbConnection Connect() => new SqliteConnection(ConnectionString);
}
