using Microsoft.Data.Sqlite;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Configuration;

/// <summary>The SQLite file of an embedded coordinator's journal.</summary>
internal static class JournalFile
{
    public static string ConnectionString(CoordinatorOptions options) =>
        new SqliteConnectionStringBuilder { DataSource = options.JournalPath, DefaultTimeout = 30 }.ConnectionString;

    /// <summary>Opens the file once, so that one that cannot be used is told at the start and by name.</summary>
    public static void Prepare(CoordinatorOptions options)
    {
        try
        {
            Directory.CreateDirectory(options.StateDir);
            using var connection = new SqliteConnection(ConnectionString(options));
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
    public static void Close(CoordinatorOptions options)
    {
        using var connection = new SqliteConnection(ConnectionString(options));
        SqliteConnection.ClearPool(connection);
    }
}
