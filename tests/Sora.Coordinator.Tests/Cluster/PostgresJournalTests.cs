using Sora.Coordinator.Configuration;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Tests.Cluster;

[Collection(nameof(PostgresServer))]
public sealed class PostgresJournalTests(PostgresServer postgres)
{
    [Fact]
    public async Task A_run_journaled_in_PostgreSQL_comes_back_after_a_crash()
    {
        var journal = await postgres.CreateDatabaseAsync();
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { JournalConnection = journal });
        await coordinator.Host.SubmitAsync(TestCoordinator.Submission("shared", workers: 1));
        await using var worker = await FakeWorker.DialAsync(coordinator.Host, "w1");
        var generation = await FakeWorker.BeginAsync(worker);
        await coordinator.AllComputeAsync("shared");

        await coordinator.CrashAsync();
        var watched = await coordinator.Host.WatchAsync("shared");
        await using var again = await FakeWorker.DialAsync(coordinator.Host, "w1", FakeWorker.Training(generation, "w1", 2));
        await again.FinishRunAsync(generation);

        var events = await TestCoordinator.ToEndAsync(watched);
        Assert.Equal(1, Assert.Single(events.OfType<GenerationFormed>()).Generation);
        Assert.IsType<RunFinished>(events[^1]);
        Assert.False(File.Exists(Path.Combine(coordinator.Folder, "journal.db")));
    }

    [Fact]
    public async Task Many_coordinators_that_start_at_once_make_the_table_once()
    {
        var journal = await postgres.CreateDatabaseAsync();

        await Parallel.ForAsync(0, 16, TestContext.Current.CancellationToken, (_, _) =>
        {
            new PostgresJournal(journal).Prepare();
            return ValueTask.CompletedTask;
        });

        Assert.Empty(new PostgresJournal(journal).ListRuns());
    }

    [Fact]
    public async Task A_database_that_does_not_answer_is_told_at_the_start()
    {
        var error = await Assert.ThrowsAsync<SoraException>(() => TestCoordinator.StartAsync(options => options with { JournalConnection = $"Host=127.0.0.1;Port={Ports.Free()};Username=sora" }));

        Assert.Equal(ExitCode.Usage, error.ExitCode);
        Assert.Contains("PostgreSQL", error.Message);
    }
}

/// <summary>One server for all tests that need one.</summary>
[CollectionDefinition(nameof(PostgresServer))]
public sealed class PostgresCollection : ICollectionFixture<PostgresServer>;
