using System.Diagnostics;

namespace Sora.Cluster.Tests;

/// <summary>The coordinator dies, alone or with everything.</summary>
public sealed class CoordinatorFaultTests(FaultJobs jobs, TrainingFixture fixture) : IClassFixture<TrainingFixture>
{
    private static CancellationToken Deadline => TestContext.Current.CancellationToken;

    [Fact]
    public async Task When_everything_is_killed_the_run_goes_on_from_its_last_checkpoint()
    {
        var job = fixture.WriteJob("lstm", "save_steps: 10").LastingFor(300);
        var undisturbed = await Undisturbed.OfAsync(job, fixture.NewOutput());
        using var run = FaultRun.Start(job, fixture.NewOutput(), "--workers", "2");
        await run.Process.EventAsync("checkpoint", _ => true, Deadline);
        await run.StepAsync(35);
        var workers = new[] { Process.GetProcessById(await run.ProcessOfAsync("worker-0")), Process.GetProcessById(await run.ProcessOfAsync("worker-1")) };
        run.Process.Signal("KILL");
        foreach (var worker in workers)
        {
            worker.Kill();
            await worker.WaitForExitAsync(Deadline);
            worker.Dispose();
        }
        Assert.Equal(137, (await run.Process.EndAsync(Deadline)).ExitCode);

        using var resumed = FaultRun.Start(job, run.Output, "--workers", "3", "--resume", "auto");
        var end = await resumed.EndsLikeAsync(undisturbed);
        Assert.True(end.Event("started").GetProperty("first_step").GetInt64() >= 10);
    }

    [Fact]
    public async Task A_coordinator_that_is_killed_and_started_again_finds_its_workers_computing()
    {
        var undisturbed = await jobs.Quick.UndisturbedAsync();
        string[] command = ["coordinator", "start", "--state", Path.Combine(fixture.Folder, "state"), "--listen", $"http://127.0.0.1:{Ports.Free()}", "--json"];
        var first = SoraProcess.Start(command);
        var listening = await first.EventAsync("listening", _ => true, Deadline);
        string[] there = ["--coordinator", listening.GetProperty("address").GetString()!, "--token-file", listening.GetProperty("token_file").GetString()!];
        using var one = SoraProcess.Start(["worker", "--name", "one", .. there]);
        using var two = SoraProcess.Start(["worker", "--name", "two", .. there]);
        using var run = await jobs.Quick.StartAsync(["--workers", "2", .. there]);
        await run.StepAsync(20);
        first.Signal("KILL");
        Assert.Equal(137, (await first.EndAsync(Deadline)).ExitCode);
        first.Dispose();
        using var second = SoraProcess.Start(command);

        var end = await run.Process.EndAsync(Deadline);
        Assert.True(end.ExitCode == 0, end.ToString());
        Assert.Equal(undisturbed.WeightsSha256, end.Event("finished").GetProperty("weights_sha256").GetString());
        Assert.All(end.Events("generation"), generation => Assert.True(generation.GetProperty("generation").GetInt64() == 1 || generation.GetProperty("first_step").GetInt64() >= 20, end.ToString()));
        Assert.Equal((0, 0), ((await one.EndAsync(Deadline)).ExitCode, (await two.EndAsync(Deadline)).ExitCode));
        second.Signal("TERM");
        Assert.Equal(0, (await second.EndAsync(Deadline)).ExitCode);
    }
}
