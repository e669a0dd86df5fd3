namespace Sora.Cluster.Tests;

/// <summary>
/// kill -9 in each phase of a worker's and of a coordinator's life. A process says on stderr what it is about to do, and is
/// killed on that line, a millisecond or so later on a machine at rest, while a phase lasts tens of milliseconds with this job.
/// That the process was still in it is not asserted: on a busy machine a kill may come later, and the run must survive that
/// too. The commit is the shortest; the seeded moments of the last test are spread over whole steps, and so over what lies
/// between these lines. The exchange is held open by a peer that stands still.
/// </summary>
public sealed class PhaseFaultTests(FaultJobs jobs)
{
    private static CancellationToken Deadline => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_worker_may_die_in_every_phase()
    {
        // With fewer than three the run waits: so no step is computed while a process starts.
        using var run = await jobs.Heavy.StartAsync("--workers", "3:3", "--local-workers", "0", "--set", "save_steps=15");
        using var workers = new WorkerGroup(await run.CoordinatorAsync());
        foreach (var name in (string[])["a", "b", "c"])
            workers.Start(name);
        await workers.CommitAsync(2);

        // Computing.
        await KillAtAsync(workers["c"], WorkerLog.Committed);
        // Taking the state from others.
        await KillAtAsync(workers.Start("c"), WorkerLog.TakingOver);
        // New in a generation that forms.
        await KillAtAsync(workers.Start("c"), WorkerLog.Joining);
        // Giving the state to another.
        await workers.Start("c").LogAsync(WorkerLog.TakingOver);
        await workers["a"].KillAsync(Deadline);
        workers.Start("a");
        await workers.CommitAsync(2);
        // Exchanging: with a peer that stands still the exchange does not end, and may have begun already.
        workers["b"].Signal("STOP");
        await workers["c"].LogAsync(WorkerLog.Exchanging, after: workers["c"].Log.Count - 1);
        await workers["c"].KillAsync(Deadline);
        workers["b"].Signal("CONT");
        // One of those that go on, in a generation that forms.
        await workers.Start("c").LogAsync(WorkerLog.Joining);
        await workers["b"].KillAsync(Deadline);
        workers.Start("b");
        await workers.CommitAsync(2);
        // Between exchange and commit.
        await KillAtAsync(workers["c"], WorkerLog.Exchanged);
        workers.Start("c");
        await workers.CommitAsync(2);
        // Writing its share of a checkpoint.
        await KillAtAsync(workers["a"], WorkerLog.Saving);
        workers.Start("a");

        await run.EndsLikeAsync(await jobs.Heavy.UndisturbedAsync());
        await workers.EndAsync();
        var verified = await SoraProcess.RunAsync(["checkpoint", "verify", run.Output], Deadline);
        Assert.True(verified.ExitCode == 0, verified.Errors);
    }

    [Fact]
    public async Task A_coordinator_may_die_in_every_phase()
    {
        var undisturbed = await jobs.Heavy.UndisturbedAsync();
        using var coordinator = await CoordinatorGroup.StartAsync(Directory.CreateDirectory(jobs.Training.NewOutput()).FullName);
        using var workers = new WorkerGroup(coordinator.From(0));
        using var run = await jobs.Heavy.StartAsync(["--workers", "1:3", "--set", "save_steps=5", .. coordinator.From(0)]);
        foreach (var name in (string[])["a", "b", "c"])
            workers.Start(name);

        // Nothing is decided yet but that there is a run.
        await KillAtAsync("to Forming");
        // The first generation is being written down and told.
        await KillAtAsync("to Joining");
        // It is told, and its members report.
        await KillAtAsync("to Running");
        // The members compute on meanwhile: so that the run lasts.
        var brake = new Brake(workers["b"]);
        await using var _ = brake;
        await workers.CommitAsync(1);
        // A member writes a checkpoint.
        await workers["a"].LogAsync(WorkerLog.Saving, workers["a"].Log.Count);
        await KillAsync();
        await workers.CommitAsync(1);
        // The membership changes: the members are being halted, and then the next generation formed.
        await SaysAsync("to Running");
        workers["c"].Signal("TERM");
        await KillAtAsync("to Halting");
        await KillAtAsync("to Joining");
        await brake.ReleaseAsync();

        await run.EndsLikeAsync(undisturbed);
        await workers.EndAsync();

        Task SaysAsync(string phase) => coordinator[0].LogAsync(CoordinatorGroup.PhaseChanges, matching: line => line.EndsWith(phase, StringComparison.Ordinal));

        async Task KillAtAsync(string phase)
        {
            await SaysAsync(phase);
            await KillAsync();
        }

        async Task KillAsync()
        {
            await coordinator[0].KillAsync(Deadline);
            await coordinator.StartAgainAsync(0);
        }
    }

    [Fact]
    public async Task A_coordinator_may_die_while_a_run_is_being_stopped()
    {
        using var coordinator = await CoordinatorGroup.StartAsync(Directory.CreateDirectory(jobs.Training.NewOutput()).FullName);
        using var workers = new WorkerGroup(coordinator.From(0));
        using var run = await jobs.Heavy.StartAsync(["--workers", "2", "--set", "save_steps=0", .. coordinator.From(0)]);
        workers.Start("a");
        workers.Start("b");
        await workers.CommitAsync(3);

        run.Process.Signal("TERM");
        await coordinator[0].LogAsync(CoordinatorGroup.PhaseChanges, matching: line => line.EndsWith("to Saving", StringComparison.Ordinal));
        await coordinator[0].KillAsync(Deadline);
        await coordinator.StartAgainAsync(0);

        var end = await run.Process.EndAsync(Deadline);
        Assert.True(end.ExitCode == 75, end.ToString());
        var stopped = end.Event("stopped").GetProperty("step").GetInt64();
        Assert.All(end.Events("step"), step => Assert.True(step.GetProperty("step").GetInt64() <= stopped, end.ToString()));
        // The checkpoint of the stop is whole, wherever its writing was cut.
        using var resumed = FaultRun.Start(jobs.Heavy.Path, run.Output, "--workers", "1", "--resume", "auto");
        var whole = await resumed.EndsLikeAsync(await jobs.Heavy.UndisturbedAsync());
        Assert.Equal(stopped, whole.Event("started").GetProperty("first_step").GetInt64());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Workers_may_die_at_any_moment_of_a_step(int seed)
    {
        var random = new Random(seed);
        using var run = await jobs.Heavy.StartAsync("--workers", "1:4", "--local-workers", "0");
        using var workers = new WorkerGroup(await run.CoordinatorAsync());
        var left = new List<string> { "a", "b", "c", "d" };
        foreach (var name in left)
            workers.Start(name);
        await workers.CommitAsync(2);
        while (left.Count > 1)
        {
            var victim = left[random.Next(left.Count)];
            await workers[victim].LogAsync(WorkerLog.Committed, workers[victim].Log.Count);
            await Task.Delay(TimeSpan.FromMilliseconds(150 * random.NextDouble()), Deadline);
            await workers[victim].KillAsync(Deadline);
            left.Remove(victim);
            await Task.WhenAll(left.Select(name => WorkerGroup.CommitAsync(workers[name], 2)));
        }

        await run.EndsLikeAsync(await jobs.Heavy.UndisturbedAsync());
    }

    private static async Task KillAtAsync(SoraProcess process, int eventId)
    {
        await process.LogAsync(eventId, process.Log.Count);
        await process.KillAsync(Deadline);
    }
}
