namespace Sora.Cluster.Tests;

/// <summary>Workers die, sleep, leave and come while a run goes on: it ends with the bytes of the undisturbed run, and reads no checkpoint.</summary>
public sealed class WorkerFaultTests(FaultJobs jobs)
{
    [Fact]
    public async Task A_killed_worker_is_replaced_and_nothing_is_lost()
    {
        using var run = await StartAsync("--workers", "3");
        await run.StepAsync(20);
        await run.SignalAsync("KILL", "worker-1");

        var left = await run.WorkerAsync("worker_left", "worker-1");
        Assert.StartsWith("killed by signal 9", left.GetProperty("reason").GetString());
        await run.GenerationAsync(members => members is ["worker-0", "worker-2"]);
        var end = await run.EndsLikeAsync(await jobs.Quick.UndisturbedAsync());
        Assert.Equal("worker-1", end.Event("worker_restarting").GetProperty("worker").GetString());
        Assert.Single(end.Events("checkpoint")); // the last one: there was none to read
    }

    [Fact]
    public async Task One_survivor_is_enough()
    {
        using var run = await StartAsync("--workers", "3", "--max-restarts", "0");
        await run.StepAsync(20);
        await run.SignalAsync("KILL", "worker-0");
        await run.SignalAsync("KILL", "worker-2");

        await run.GenerationAsync(members => members is ["worker-1"]);
        var end = await run.EndsLikeAsync(await jobs.Quick.UndisturbedAsync());
        Assert.Equal(2, end.Events("worker_stays_down").Count);
        Assert.Single(end.Events("checkpoint"));
    }

    [Fact]
    public async Task When_nobody_is_left_the_run_ends_with_the_reason_and_can_be_resumed()
    {
        using var run = await StartAsync("--workers", "2", "--max-restarts", "0", "--set", "save_steps=20");
        await run.Process.EventAsync("checkpoint", _ => true, Deadline);
        await run.SignalAsync("KILL", "worker-0");
        await run.SignalAsync("KILL", "worker-1");

        var end = await run.Process.EndAsync(Deadline);
        Assert.True(end.ExitCode == 1, end.ToString());
        Assert.Contains("no worker is left", end.Event("failed").GetProperty("message").GetString());
        Assert.Contains("killed by signal 9", end.Event("failed").GetProperty("message").GetString());
        Assert.Contains("--resume auto", end.Errors);
        using var resumed = FaultRun.Start(jobs.Quick.Path, run.Output, "--workers", "3", "--resume", "auto");
        await resumed.EndsLikeAsync(await jobs.Quick.UndisturbedAsync());
    }

    [Fact]
    public async Task A_worker_that_slept_is_harmless_when_it_wakes_and_takes_part_again()
    {
        using var run = await StartAsync("--workers", "2");
        await run.StepAsync(20);
        await run.SignalAsync("STOP", "worker-1");
        await run.WorkerAsync("worker_left", "worker-1");
        var alone = await run.GenerationAsync(members => members is ["worker-0"]);
        await run.SignalAsync("CONT", "worker-1");

        await run.GenerationAsync(members => members.Contains("worker-1"), after: alone.GetProperty("generation").GetInt64());
        var end = await run.EndsLikeAsync(await jobs.Quick.UndisturbedAsync());
        Assert.Empty(end.Events("worker_restarting"));
    }

    [Fact]
    public async Task A_worker_told_to_end_hands_over_and_is_not_started_again()
    {
        using var run = await StartAsync("--workers", "3");
        await run.StepAsync(20);
        await run.SignalAsync("TERM", "worker-0");

        Assert.Equal("exit code 0", (await run.WorkerAsync("worker_stays_down", "worker-0")).GetProperty("reason").GetString());
        var end = await run.EndsLikeAsync(await jobs.Quick.UndisturbedAsync());
        Assert.Equal(["worker-1", "worker-2"], FaultRun.Members(end.Event("generation")));
        Assert.Empty(end.Events("worker_restarting"));
    }

    [Fact]
    public async Task A_worker_that_comes_while_the_run_goes_on_takes_its_part_from_memory()
    {
        using var run = await StartAsync("--workers", "1:2", "--local-workers", "1");
        await run.StepAsync(1);
        using var other = await run.AddWorkerAsync("by-hand");

        await run.GenerationAsync(members => members.Contains("by-hand"));
        var end = await run.EndsLikeAsync(await jobs.Quick.UndisturbedAsync());
        Assert.Equal(0, (await other.EndAsync(Deadline)).ExitCode);
        Assert.Single(end.Events("checkpoint"));
    }

    [Fact]
    public async Task Below_its_least_number_of_workers_a_run_waits_for_one_to_come()
    {
        using var run = await StartAsync("--workers", "2:2", "--max-restarts", "0");
        await run.StepAsync(20);
        await run.SignalAsync("KILL", "worker-0");
        var waiting = await run.Process.EventAsync("waiting", _ => true, Deadline);
        Assert.Equal((1, 2), (waiting.GetProperty("workers").GetInt32(), waiting.GetProperty("min_workers").GetInt32()));
        using var other = await run.AddWorkerAsync("by-hand");

        await run.GenerationAsync(members => members is ["by-hand", "worker-1"]);
        var end = await run.EndsLikeAsync(await jobs.Quick.UndisturbedAsync());
        Assert.Equal(0, (await other.EndAsync(Deadline)).ExitCode);
        Assert.Single(end.Events("checkpoint"));
    }

    [Fact]
    public async Task The_writer_of_checkpoints_may_die_while_it_writes_one()
    {
        using var run = await StartAsync("--workers", "2", "--set", "save_steps=30", "--set", "save_total_limit=0");
        await run.StepAsync(30);
        await run.SignalAsync("KILL", "worker-0");

        await run.WorkerAsync("worker_left", "worker-0");
        await run.EndsLikeAsync(await jobs.Quick.UndisturbedAsync());
        var verified = await SoraProcess.RunAsync(["checkpoint", "verify", run.Output], Deadline);
        Assert.True(verified.ExitCode == 0, verified.Errors);
    }

    private static CancellationToken Deadline => TestContext.Current.CancellationToken;

    private Task<FaultRun> StartAsync(params string[] arguments) => jobs.Quick.StartAsync(arguments);
}
