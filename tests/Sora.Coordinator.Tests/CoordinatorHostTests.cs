using System.Net;
using System.Net.Sockets;
using Grpc.Core;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Tests;

public sealed class CoordinatorHostTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_whole_run_from_hello_to_finished()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("whole"));
        await using var first = await FakeWorker.DialAsync(coordinator.Host, "w1");
        await using var second = await FakeWorker.DialAsync(coordinator.Host, "w2");
        var generation = await FakeWorker.BeginAsync(first, second);
        Assert.Equal([(0u, 2u), (2u, 2u)], generation.Members.Select(member => (member.FirstLane, member.LaneCount)));
        Assert.Equal(32, generation.Secret.Length);
        for (var step = 1UL; step <= 3; step++)
            await first.StepAsync(generation, step);
        await first.SayAsync(new FromWorker { Evaluation = new EvaluationReport { Run = "whole", Generation = 1, Step = 3, Loss = 0, BitsPerByte = 1.5, Tokens = 5 } });
        await first.SayAsync(new FromWorker { Checkpoint = new CheckpointReport { Run = "whole", Generation = 1, Step = 3, Path = "/output/checkpoint-3", WeightsSha256 = "weights" } });
        await first.SayAsync(new FromWorker { Warning = new Warning { Message = "the disk is nearly full" } });
        await first.FinishAsync(generation, 3, "weights");
        await second.FinishAsync(generation, 3, "weights");

        var events = await TestCoordinator.ToEndAsync(run);

        Assert.Equal(new RunStarted("whole", "test", 0, 3, 2, 4, 10, 4 * 8 * 256, "auto", "fp32"), events[0]);
        Assert.Equal(["w1", "w2"], events.OfType<WorkerJoined>().Select(joined => joined.Worker));
        Assert.Equal([2000.0, 2000, 2000], events.OfType<StepCommitted>().Select(step => step.TokensPerSecond));
        Assert.Equal(1, Assert.Single(events.OfType<Evaluated>()).Perplexity);
        Assert.Equal("/output/checkpoint-3", Assert.Single(events.OfType<CheckpointSaved>()).Path);
        Assert.Contains("nearly full", Assert.Single(events.OfType<RunWarning>()).Message);
        Assert.Equal(new RunFinished(3, 2, 0, "weights", "/output"), events[^1]);
        Assert.NotNull((await first.HearAsync()).Goodbye);
        Assert.True(await first.StreamEndsAsync());
    }

    [Fact]
    public async Task Workers_that_dial_before_a_run_exists_wait_for_it()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        await using var worker = await FakeWorker.DialAsync(coordinator.Host, "w1");
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("late", workers: 1));

        var assignment = await worker.ProveAsync("a");
        await run.StopAsync("enough");

        Assert.Equal(("late", "/corpus", "/output"), (assignment.Run, assignment.CorpusDir, assignment.OutputDir));
        Assert.Equal("enough", Assert.IsType<RunStopped>((await TestCoordinator.ToEndAsync(run))[^1]).Reason);
    }

    [Fact]
    public async Task Strict_numerics_refuse_the_odd_worker_and_the_run_waits_for_another()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("strict"));
        await using var first = await FakeWorker.DialAsync(coordinator.Host, "w1");
        await using var second = await FakeWorker.DialAsync(coordinator.Host, "w2");
        await Task.WhenAll(first.ProveAsync("one"), second.ProveAsync("two"));

        var refused = (await second.HearAsync()).Refused;
        await using var third = await FakeWorker.DialAsync(coordinator.Host, "w3");
        await third.ProveAsync("one");
        var generation = (await first.HearAsync()).Generation;
        await run.StopAsync("enough");

        Assert.Contains("numerics of w2", refused.Reason);
        Assert.Equal(["w1", "w3"], generation.Members.Select(member => member.Worker));
    }

    [Fact]
    public async Task Warned_numerics_let_the_odd_worker_compute()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        var job = new TrainingJob { Lanes = 2, MaxSteps = 3, Numerics = NumericsPolicy.Warn };
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("warn", job: job));
        await using var first = await FakeWorker.DialAsync(coordinator.Host, "w1");
        await using var second = await FakeWorker.DialAsync(coordinator.Host, "w2");
        await Task.WhenAll(first.ProveAsync("one"), second.ProveAsync("two"));
        await Task.WhenAll(first.ReadyAsync(), second.ReadyAsync());
        await run.StopAsync("enough");
        await Task.WhenAll(first.HaltAsync(0), second.HaltAsync(0));
        await first.SaveAsync("/output/checkpoint-0");

        var events = await TestCoordinator.ToEndAsync(run);

        Assert.Equal([false, true], events.OfType<WorkerJoined>().Select(joined => joined.NumericsDiffer));
        Assert.Single(events.OfType<RunWarning>());
    }

    [Fact]
    public async Task A_worker_that_dies_is_replaced_by_those_that_are_left()
    {
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { AbsenceLimit = TimeSpan.FromMilliseconds(50) });
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("killed"));
        await using var first = await FakeWorker.DialAsync(coordinator.Host, "w1");
        await using var second = await FakeWorker.DialAsync(coordinator.Host, "w2");
        await FakeWorker.BeginAsync(first, second);
        second.Die();

        Assert.False((await first.HaltAsync(1)).Gracefully);
        var generation = await first.ReadyAsync();
        await first.SaidSavedAsync(generation, 3);
        await first.FinishAsync(generation, 3, "weights");
        var events = await TestCoordinator.ToEndAsync(run);

        Assert.Equal((2UL, 1UL, 1), (generation.Generation_, generation.FirstStep, generation.Members.Count));
        Assert.Equal([0u], generation.Holders);
        Assert.Equal("w2", Assert.Single(events.OfType<WorkerLeft>()).Worker);
        Assert.IsType<RunFinished>(events[^1]);
    }

    [Fact]
    public async Task A_worker_that_falls_silent_is_lost()
    {
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { WorkerSilenceLimit = TimeSpan.FromSeconds(2), AbsenceLimit = TimeSpan.FromMilliseconds(50) });
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("silent", workers: 1));
        await TestCoordinator.ReachesAsync(coordinator.Host, "silent", RunPhase.Gathering);
        await using var worker = await FakeWorker.DialAsync(coordinator.Host, "w1");
        Assert.NotNull((await worker.HearAsync()).Assignment);
        Assert.True(await worker.StreamEndsAsync());

        using var patience = TestCoordinator.Patience();
        WorkerLeft? left = null;
        await foreach (var happened in run.Events.WithCancellation(patience.Token))
        {
            // The run would wait for another one.
            if ((left = happened as WorkerLeft ?? left) is not null)
                await run.StopAsync("enough");
        }

        Assert.Contains("nothing was heard from it for 2 s, and it did not come back", left?.Reason);
    }

    [Fact]
    public async Task Missing_workers_end_the_run_after_the_arrival_limit()
    {
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { ArrivalLimit = TimeSpan.FromMilliseconds(50) });
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("alone"));

        Assert.Contains("Only 0 of 2 workers", Assert.IsType<RunFailed>((await TestCoordinator.ToEndAsync(run))[^1]).Message);
    }

    [Fact]
    public async Task A_stop_reaches_every_worker_and_keeps_the_checkpoint()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("stopped"));
        await using var first = await FakeWorker.DialAsync(coordinator.Host, "w1");
        await using var second = await FakeWorker.DialAsync(coordinator.Host, "w2");
        await FakeWorker.BeginAsync(first, second);
        await coordinator.AllComputeAsync("stopped");
        await run.StopAsync("Ctrl-C");
        var halts = await Task.WhenAll(first.HaltAsync(2), second.HaltAsync(2));
        await first.SaveAsync("/output/checkpoint-2");

        Assert.All(halts, halt => Assert.True(halt.Gracefully));
        Assert.Equal(new RunStopped(2, "/output/checkpoint-2", "Ctrl-C"), (await TestCoordinator.ToEndAsync(run))[^1]);
        foreach (var worker in new[] { first, second })
            Assert.Equal(ExitCode.Resumable, (int)(await worker.HearAsync()).Goodbye.ExitCode);
    }

    [Fact]
    public async Task A_finished_run_survives_a_restart_of_the_coordinator()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("lasting", workers: 1));
        await using (var worker = await FakeWorker.DialAsync(coordinator.Host, "w1"))
        {
            await worker.FinishRunAsync(await FakeWorker.BeginAsync(worker));
            await TestCoordinator.ToEndAsync(run);
        }
        await coordinator.RestartAsync();

        Assert.Equal(RunPhase.Ended, (await coordinator.Host.QueryAsync("lasting", Cancel)).Phase);
        var again = await TestCoordinator.ToEndAsync(await coordinator.Host.SubmitAsync(TestCoordinator.Submission("lasting", workers: 1)));
        Assert.Equal("weights", Assert.IsType<RunFinished>(Assert.Single(again)).WeightsSha256);
    }

    [Fact]
    public async Task A_run_that_does_not_outlive_its_coordinator_goes_on_in_a_higher_generation_when_it_is_submitted_again()
    {
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { RecoverRuns = false });
        var cut = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("cut", workers: 1));
        Standing standing;
        await using (var worker = await FakeWorker.DialAsync(coordinator.Host, "w1"))
        {
            var first = await FakeWorker.BeginAsync(worker);
            await worker.SaidSavedAsync(first, 2);
            standing = FakeWorker.Training(first, "w1", 2);
            await foreach (var happened in cut.Events.WithCancellation(Cancel))
            {
                if (happened is CheckpointSaved)
                    break;
            }
            await coordinator.CrashAsync();
        }

        Assert.Equal(new RunStatus("cut", RunPhase.Idle, 1, 2, "/output/checkpoint-2"), await coordinator.Host.QueryAsync("cut", Cancel));
        await using var stray = await FakeWorker.DialAsync(coordinator.Host, "w1", standing);
        Assert.Contains("cut", (await stray.HearAsync()).Goodbye.Reason);
        var resumed = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("cut", workers: 1) with { ResumeFrom = "/output/checkpoint-2", FirstStep = 2 });
        await using var newcomer = await FakeWorker.DialAsync(coordinator.Host, "w2");
        var generation = await FakeWorker.BeginAsync(newcomer);
        Assert.Equal((2UL, 2UL), (generation.Generation_, generation.FirstStep));
        await newcomer.FinishRunAsync(generation);
        Assert.IsType<RunFinished>((await TestCoordinator.ToEndAsync(resumed))[^1]);
    }

    [Fact]
    public async Task Shutting_down_in_the_middle_of_a_run_ends_its_events()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("abandoned"));
        await coordinator.Host.DisposeAsync();

        Assert.Contains("shut down", Assert.IsType<RunFailed>((await TestCoordinator.ToEndAsync(run))[^1]).Message);
    }

    [Fact]
    public async Task More_workers_than_lanes_are_refused_before_anything_starts()
    {
        await using var coordinator = await TestCoordinator.StartAsync();

        var error = await Assert.ThrowsAsync<SoraException>(() => coordinator.Host.SubmitAsync(TestCoordinator.Submission("many", workers: 5)));

        Assert.Equal(ExitCode.Usage, error.ExitCode);
        Assert.Contains("5 workers cannot share 4 lanes", error.Message);
    }

    [Fact]
    public async Task A_port_in_use_is_named()
    {
        using var occupant = new TcpListener(IPAddress.Loopback, 0);
        occupant.Start();
        var url = $"http://{occupant.LocalEndpoint}";

        var error = await Assert.ThrowsAsync<SoraException>(() => TestCoordinator.StartAsync(options => options with { ListenUrl = url }));

        Assert.Contains(url, error.Message);
        Assert.Contains("another program uses that port", error.Message);
    }

    [Fact]
    public async Task Listening_on_all_addresses_gives_one_that_can_be_dialled()
    {
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { ListenUrl = "http://0.0.0.0:0" });

        Assert.StartsWith("http://127.0.0.1:", coordinator.Host.Address);
    }

    [Theory]
    [InlineData("not an address")]
    [InlineData("https://127.0.0.1:0")]
    [InlineData("http://example.org:80")]
    public async Task A_bad_listen_address_is_a_usage_error(string url)
    {
        var error = await Assert.ThrowsAsync<SoraException>(() => TestCoordinator.StartAsync(options => options with { ListenUrl = url }));

        Assert.Equal(ExitCode.Usage, error.ExitCode);
        Assert.Contains(url, error.Message);
    }

    [Fact]
    public async Task A_state_folder_that_cannot_be_made_is_named()
    {
        var file = Path.GetTempFileName();
        try
        {
            var error = await Assert.ThrowsAsync<SoraException>(() => TestCoordinator.StartAsync(options => options with { StateDir = Path.Combine(file, "state") }));
            Assert.Contains(file, error.Message);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task A_journal_that_is_no_database_is_named_at_the_start()
    {
        var folder = Directory.CreateTempSubdirectory("sora-coordinator-").FullName;
        await File.WriteAllTextAsync(Path.Combine(folder, "journal.db"), new string('x', 4096), Cancel);
        try
        {
            var error = await Assert.ThrowsAsync<SoraException>(() => TestCoordinator.StartAsync(options => options with { StateDir = folder }));
            Assert.Contains(Path.Combine(folder, "journal.db"), error.Message);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
