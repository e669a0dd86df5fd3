using Akka.Actor;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Tests.Runs;

public sealed class JobEntityTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task An_ended_run_leaves_memory()
    {
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { EndedRunMemory = TimeSpan.FromMilliseconds(200) });
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("fleeting", workers: 1));
        await using var worker = await FakeWorker.DialAsync(coordinator.Host, "w1");
        var generation = await FakeWorker.BeginAsync(worker);
        var (system, _) = await coordinator.Host.Actors;
        var entity = await system.ActorSelection("/system/sharding/job/*/fleeting").ResolveOne(TimeSpan.FromSeconds(10), Cancel);
        var gone = entity.WatchAsync(Cancel);

        await worker.FinishRunAsync(generation);
        await TestCoordinator.ToEndAsync(run);

        Assert.True(await gone);
    }

    [Fact]
    public async Task A_journal_that_fails_in_the_middle_ends_a_run_that_does_not_outlive_its_coordinator_and_names_the_file()
    {
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { RecoverRuns = false });
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("unwritten", workers: 1));
        await using var worker = await FakeWorker.DialAsync(coordinator.Host, "w1");
        var generation = await FakeWorker.BeginAsync(worker);
        var path = Path.Combine(coordinator.Folder, "journal.db");
        using (var connection = new SqliteConnection($"Data Source={path}"))
        {
            connection.Open();
            using var command = connection.CreateCommand();
            command.CommandText = "DROP TABLE journal";
            command.ExecuteNonQuery();
        }
        await worker.FinishRunAsync(generation);

        var failed = Assert.IsType<RunFailed>((await TestCoordinator.ToEndAsync(run))[^1]);

        Assert.Contains(path, failed.Message);
        Assert.Contains(path, (await worker.HearAsync()).Goodbye.Reason);
    }

    [Fact]
    public async Task An_undisturbed_run_logs_no_warning()
    {
        var log = new WarningLog();
        await using (var coordinator = await TestCoordinator.StartAsync(options => options with { LoggerFactory = log }))
        {
            var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("quiet", workers: 1));
            await using var worker = await FakeWorker.DialAsync(coordinator.Host, "w1");
            var generation = await FakeWorker.BeginAsync(worker);
            await worker.FinishRunAsync(generation);
            await TestCoordinator.ToEndAsync(run);
            Assert.NotNull((await worker.HearAsync()).Goodbye);
        }

        Assert.Empty(log.Lines);
    }

    [Fact]
    public async Task A_stopped_run_is_resumed_at_once_by_the_same_workers()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        var stopped = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("again", workers: 1));
        await using (var worker = await FakeWorker.DialAsync(coordinator.Host, "w1"))
        {
            await FakeWorker.BeginAsync(worker);
            await stopped.StopAsync("enough");
            await worker.HaltAsync(0);
            await worker.SaveAsync("/output/checkpoint-0");
            Assert.IsType<RunStopped>((await TestCoordinator.ToEndAsync(stopped))[^1]);
        }
        var resumed = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("again", workers: 1));
        await using var successor = await FakeWorker.DialAsync(coordinator.Host, "w1", incarnation: "second process of w1");
        await successor.FinishRunAsync(await FakeWorker.BeginAsync(successor));

        Assert.IsType<RunFinished>((await TestCoordinator.ToEndAsync(resumed))[^1]);
    }
}
