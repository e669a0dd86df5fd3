namespace Sora.Cluster.Tests;

/// <summary>One worker stands still for long, another is slow all the time.</summary>
public sealed class SlowWorkerTests(FaultJobs jobs)
{
    // Longer than the coordinator and the exchange wait for anybody.
    private static readonly TimeSpan LongSleep = TimeSpan.FromSeconds(20);

    private static CancellationToken Deadline => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_slow_worker_is_named_and_loses_lanes_and_one_that_slept_for_long_is_harmless_when_it_wakes()
    {
        using var run = await jobs.Quick.StartAsync("--workers", "2:3", "--local-workers", "0", "--set", "straggler=replace", "--set", "straggler_seconds=2");
        using var workers = new WorkerGroup(await run.CoordinatorAsync());
        foreach (var name in (string[])["a", "b", "c"])
            workers.Start(name);
        await workers.CommitAsync(5);

        workers["c"].Signal("STOP");
        var slept = Task.Delay(LongSleep, Deadline);
        var without = await run.GenerationAsync(members => members is ["a", "b"]);
        var before = workers["b"].Log.Count;
        await using (new Brake(workers["b"]))
        {
            var warning = await run.Process.EventAsync("warning", json => json.GetProperty("message").GetString()!.Contains("is slow", StringComparison.Ordinal), Deadline);
            Assert.Contains("b", warning.GetProperty("message").GetString()!.Split(' '), StringComparer.Ordinal);
            await workers["b"].LogAsync(WorkerLog.Joining, matching: line => line.Contains("1 of 4 lanes", StringComparison.Ordinal), after: before);
            await slept;
            workers["c"].Signal("CONT");
            await run.GenerationAsync(members => members is ["a", "b", "c"], after: without.GetProperty("generation").GetInt64());
        }

        await run.EndsLikeAsync(await jobs.Quick.UndisturbedAsync());
        await workers.EndAsync();
    }
}
