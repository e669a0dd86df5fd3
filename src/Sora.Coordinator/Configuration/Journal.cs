using System.Data.Common;
using Sora.Coordinator.Serialization;
using Sora.Federation.Wire;

namespace Sora.Coordinator.Configuration;

/// <summary>A run as the journal knows it.</summary>
/// <param name="Run">Its id.</param>
/// <param name="LastEvent">Manifest of the last event.</param>
internal sealed record JournaledRun(string Run, string LastEvent)
{
    public bool IsOver => DecisionFormat.EndsRun(LastEvent) || RoundDecisionFormat.EndsRun(LastEvent);
}

/// <summary>The database the decisions are written to. Akka writes and replays them; here is what it does not do.</summary>
internal abstract class Journal
{
    /// <summary>What the plugin calls this kind of database.</summary>
    public abstract string ProviderName { get; }

    public abstract string ConnectionString { get; }

    /// <summary>The plugin may create its table.</summary>
    public abstract bool CreatesTable { get; }

    public static Journal Of(CoordinatorOptions options) =>
        options.JournalConnection.Length == 0 ? new SqliteJournal(options) : new PostgresJournal(options.JournalConnection);

    /// <summary>Opens the database once, so that one that cannot be used is told at the start and by name.</summary>
    public abstract void Prepare();

    /// <summary>Closes pooled connections.</summary>
    public abstract void Close();

    /// <summary>All runs there ever were, the oldest first.</summary>
    public IReadOnlyList<JournaledRun> ListRuns()
    {
        using var connection = Connect();
        connection.Open();
        using var command = connection.CreateCommand();
        command.CommandText = TableExists;
        if (command.ExecuteScalar() is null)
            return [];
        command.CommandText =
            """
            SELECT persistence_id, manifest FROM journal AS event
            WHERE (persistence_id LIKE 'job-%' OR persistence_id LIKE 'federation-%')
              AND sequence_number = (SELECT MAX(sequence_number) FROM journal WHERE persistence_id = event.persistence_id)
            ORDER BY ordering
            """;
        using var rows = command.ExecuteReader();
        var runs = new List<JournaledRun>();
        while (rows.Read())
            runs.Add(new JournaledRun(RunOf(rows.GetString(0)), rows.GetString(1)));
        return runs;
    }

    private static string RunOf(string persistenceId) => persistenceId[(persistenceId.IndexOf('-', StringComparison.Ordinal) + 1)..];

    /// <summary>A query that gives a row if the journal's table is there.</summary>
    protected abstract string TableExists { get; }

    protected abstract DbConnection Connect();
}
