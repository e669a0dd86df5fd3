using System.Data.Common;
using Npgsql;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Configuration;

/// <summary>
/// The journal several coordinators share. Its table is made here and not by the plugin, which several may start at once: IF
/// NOT EXISTS alone does not keep them from making it twice. The unique constraint is what fences a second writer.
/// </summary>
internal sealed class PostgresJournal(string connectionString) : Journal
{
    // The number of the lock is any, as long as nothing else in the database uses it.
    private const string Schema =
        """
        BEGIN;
        SELECT pg_advisory_xact_lock(1397703233);
        CREATE TABLE IF NOT EXISTS journal (
            ordering bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            created bigint NOT NULL,
            deleted boolean NOT NULL,
            persistence_id text NOT NULL,
            sequence_number bigint NOT NULL,
            message bytea NOT NULL,
            tags text,
            manifest text,
            identifier integer,
            writer_uuid text,
            CONSTRAINT journal_uq UNIQUE (persistence_id, sequence_number)
        );
        COMMIT
        """;

    public override string ProviderName => "PostgreSQL.15";

    public override string ConnectionString { get; } = connectionString;

    public override bool CreatesTable => false;

    public override void Prepare()
    {
        try
        {
            using var connection = Connect();
            connection.Open();
            using var command = connection.CreateCommand();
            command.CommandText = Schema;
            command.ExecuteNonQuery();
        }
        catch (Exception exception) when (exception is NpgsqlException or ArgumentException)
        {
            throw new SoraException($"The coordinator cannot use its PostgreSQL journal: {exception.Message} Check the connection string, and that the database exists and lets its user create tables.", ExitCode.Usage, exception);
        }
    }

    public override void Close()
    {
        using var connection = new NpgsqlConnection(ConnectionString);
        NpgsqlConnection.ClearPool(connection);
    }

    protected override string TableExists => "SELECT 1 FROM pg_tables WHERE tablename = 'journal' AND schemaname = ANY (current_schemas(false))";

    protected override DbConnection Connect() => new NpgsqlConnection(ConnectionString);
}
