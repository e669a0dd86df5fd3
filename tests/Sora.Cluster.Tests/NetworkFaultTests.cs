namespace Sora.Cluster.Tests;

/// <summary>The network fails and is mended; the processes are well.</summary>
public sealed class NetworkFaultTests(FaultJobs jobs)
{
    [Fact]
    public async Task A_worker_whose_connection_fails_in_one_direction_or_both_takes_part_again_when_it_is_mended()
    {
        using var run = await jobs.Quick.StartAsync("--workers", "2:3", "--local-workers", "0");
        var coordinator = await run.CoordinatorAsync();
        await using var cable = new Cable(new Uri(coordinator[1]).Port);
        using var workers = new WorkerGroup(coordinator);
        workers.Start("a", ["--coordinator", cable.Address, .. coordinator[2..]]);
        workers.Start("b");
        workers.Start("c");
        await workers.CommitAsync(5);
        // So that the run lasts.
        await using (new Brake(workers["b"]))
        {
            // The coordinator hears nothing of the worker any more, which itself hears all: the others go on without it.
            cable.HoldThere();
            var without = await run.GenerationAsync(members => members is ["b", "c"]);
            cable.Mend();
            await run.GenerationAsync(members => members is ["a", "b", "c"], after: without.GetProperty("generation").GetInt64());
            await WorkerGroup.CommitAsync(workers["a"], 2);

            // The connection is gone, and for a while no other one can be had.
            var dialled = cable.DialledAsync();
            cable.Cut();
            await dialled;
            await WorkerGroup.CommitAsync(workers["b"], 2);
            cable.Mend();
            await WorkerGroup.CommitAsync(workers["a"], 2);

            // The worker hears nothing any more and dials again; the coordinator hears all.
            dialled = cable.DialledAsync();
            cable.HoldBack();
            await dialled;
            cable.Mend();
            await WorkerGroup.CommitAsync(workers["a"], 2);
        }

        await run.EndsLikeAsync(await jobs.Quick.UndisturbedAsync());
        await workers.EndAsync();
    }

    [Fact]
    public async Task A_worker_whose_peers_are_cut_off_from_it_is_left_behind_by_them()
    {
        using var run = await jobs.Quick.StartAsync("--workers", "2:3", "--local-workers", "0", "--set", "ddp_timeout=4");
        var coordinator = await run.CoordinatorAsync();
        var port = Ports.Free();
        await using var cable = new Cable(port);
        using var workers = new WorkerGroup(coordinator);
        // The first rank is dialled by all others.
        workers.Start("a", [.. coordinator, "--bind", $"127.0.0.1:{port}", "--advertise", new Uri(cable.Address).Authority]);
        workers.Start("b");
        workers.Start("c");
        await workers.CommitAsync(5);

        // It hears nothing of the others any more; all of them hear the coordinator, and are heard.
        cable.HoldThere();
        await run.GenerationAsync(members => members is ["b", "c"]);
        cable.Mend();

        await run.EndsLikeAsync(await jobs.Quick.UndisturbedAsync());
        await workers.EndAsync();
    }
}
