namespace Sora.Cluster.Tests;

/// <summary>Three coordinators on a PostgreSQL, all of them processes, and two of them killed one after the other.</summary>
public sealed class CoordinatorClusterTests(FaultJobs jobs, PostgresServer postgres) : IClassFixture<PostgresServer>
{
    private static CancellationToken Deadline => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_run_outlives_the_coordinator_that_holds_its_sessions_and_the_one_that_owns_it()
    {
        var journal = await postgres.CreateDatabaseAsync();
        var undisturbed = await jobs.Lasting.UndisturbedAsync();
        var folder = Directory.CreateDirectory(jobs.Training.NewOutput()).FullName;
        using var coordinators = await CoordinatorGroup.StartAsync(folder, journal, 3);
        // Each coordinator holds the session of one worker.
        using var workers = new WorkerGroup();
        for (var index = 0; index < 3; index++)
            workers.Start($"w{index}", coordinators.From(index));
        using var run = await jobs.Lasting.StartAsync(["--workers", "3", .. coordinators.From(0)]);
        await run.StepAsync(20);

        var bystander = (coordinators.Owner() + 1) % 3;
        await coordinators[bystander].KillAsync(Deadline);
        await workers.CommitAsync(20);
        await coordinators.StartAgainAsync(bystander);

        var owner = coordinators.Owner();
        Assert.NotEqual(bystander, owner);
        await coordinators[owner].KillAsync(Deadline);
        await workers.CommitAsync(5);
        Assert.NotEqual(owner, await coordinators.TakenOverAsync(owner));

        var end = await run.EndsLikeAsync(undisturbed);
        Assert.Single(end.Events("checkpoint")); // the last one: none was read
        await workers.EndAsync();
    }
}
