using Sora.Coordinator.Runs;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Tests;

/// <summary>A coordinator dies without a word and is started again on the same folder and address.</summary>
public sealed class RestartTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task All_workers_dial_again_and_the_generation_goes_on_undisturbed()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        await coordinator.Host.SubmitAsync(TestCoordinator.Submission("lasting"));
        await using var first = await FakeWorker.DialAsync(coordinator.Host, "w1");
        await using var second = await FakeWorker.DialAsync(coordinator.Host, "w2");
        var generation = await FakeWorker.BeginAsync(first, second);
        await coordinator.AllComputeAsync("lasting");

        await coordinator.CrashAsync();
        Assert.True(await first.StreamBreaksAsync());
        Assert.True(await second.StreamBreaksAsync());
        await using var firstAgain = await FakeWorker.DialAsync(coordinator.Host, "w1", FakeWorker.Training(generation, "w1", 1));
        await using var secondAgain = await FakeWorker.DialAsync(coordinator.Host, "w2", FakeWorker.Training(generation, "w2", 2));
        var watched = await coordinator.Host.WatchAsync("lasting");
        await firstAgain.StepAsync(generation, 3);
        await firstAgain.FinishRunAsync(generation);
        await secondAgain.FinishAsync(generation, 3, "weights");
        var events = await TestCoordinator.ToEndAsync(watched);

        // Nothing was said to them but goodbye.
        Assert.NotNull((await firstAgain.HearAsync()).Goodbye);
        Assert.NotNull((await secondAgain.HearAsync()).Goodbye);
        Assert.Equal(1, Assert.Single(events.OfType<GenerationFormed>()).Generation);
        Assert.Equal(3, Assert.Single(events.OfType<StepCommitted>()).Step);
        Assert.IsType<RunFinished>(events[^1]);
    }

    [Fact]
    public async Task A_member_that_does_not_return_is_replaced_by_those_that_do()
    {
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { ReturnLimit = TimeSpan.FromSeconds(1) });
        await coordinator.Host.SubmitAsync(TestCoordinator.Submission("thinned"));
        await using var first = await FakeWorker.DialAsync(coordinator.Host, "w1");
        await using var second = await FakeWorker.DialAsync(coordinator.Host, "w2");
        var generation = await FakeWorker.BeginAsync(first, second);
        await coordinator.AllComputeAsync("thinned");

        await coordinator.CrashAsync();
        await using var again = await FakeWorker.DialAsync(coordinator.Host, "w1", FakeWorker.Training(generation, "w1", 2));
        Assert.False((await again.HaltAsync(2)).Gracefully);
        var next = await again.ReadyAsync();

        Assert.Equal((2UL, 2UL), (next.Generation_, next.FirstStep));
        Assert.Equal("w1", Assert.Single(next.Members).Worker);
        Assert.NotEqual(generation.Secret, next.Secret);
    }

    [Fact]
    public async Task A_generation_that_was_journaled_but_never_told_is_replaced_and_its_number_is_not_used_again()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        await coordinator.Host.SubmitAsync(TestCoordinator.Submission("untold"));
        await using var first = await FakeWorker.DialAsync(coordinator.Host, "w1");
        await using var second = await FakeWorker.DialAsync(coordinator.Host, "w2");
        await Task.WhenAll(first.ProveAsync("same"), second.ProveAsync("same"));
        var lost = (await first.HearAsync()).Generation;

        await coordinator.CrashAsync();
        // As if the message had never left: both stand where they stood before it.
        var before = new Generation { Run = "untold" };
        await using var firstAgain = await FakeWorker.DialAsync(coordinator.Host, "w1", FakeWorker.Halted(before, "w1", -1));
        await using var secondAgain = await FakeWorker.DialAsync(coordinator.Host, "w2", FakeWorker.Halted(before, "w2", -1));
        var next = await Task.WhenAll(firstAgain.ReadyAsync(), secondAgain.ReadyAsync());

        Assert.Equal(1UL, lost.Generation_);
        Assert.All(next, generation => Assert.Equal((2UL, 0UL, 2), (generation.Generation_, generation.FirstStep, generation.Members.Count)));
    }

    [Fact]
    public async Task A_run_without_a_single_worker_comes_back_from_the_journal_and_takes_the_next_one()
    {
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { ReturnLimit = TimeSpan.FromSeconds(1) });
        await coordinator.Host.SubmitAsync(TestCoordinator.Submission("orphaned", workers: 1));
        await using (var worker = await FakeWorker.DialAsync(coordinator.Host, "w1"))
        {
            var generation = await FakeWorker.BeginAsync(worker);
            await worker.SaidSavedAsync(generation, 2);
            await TestCoordinator.CheckpointIsAsync(coordinator.Host, "orphaned", 2);
        }

        await coordinator.CrashAsync();
        await using var newcomer = await FakeWorker.DialAsync(coordinator.Host, "w2");
        var next = await FakeWorker.BeginAsync(newcomer);

        Assert.Equal((2UL, 2UL, "/output/checkpoint-2"), (next.Generation_, next.FirstStep, next.RestoreFrom));
    }

    [Fact]
    public async Task Runs_that_are_over_stay_out_of_memory()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        var over = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("over", workers: 1));
        await using (var worker = await FakeWorker.DialAsync(coordinator.Host, "w1"))
        {
            await worker.FinishRunAsync(await FakeWorker.BeginAsync(worker));
            await TestCoordinator.ToEndAsync(over);
        }
        await coordinator.Host.SubmitAsync(TestCoordinator.Submission("open", workers: 1));
        await TestCoordinator.ReachesAsync(coordinator.Host, "open", RunPhase.Gathering);

        await coordinator.CrashAsync();
        var (system, _) = await coordinator.Host.Actors;
        await using var newcomer = await FakeWorker.DialAsync(coordinator.Host, "w1");

        Assert.Equal("open", (await newcomer.ProveAsync("same")).Run);
        await Assert.ThrowsAsync<Akka.Actor.ActorNotFoundException>(() => system.ActorSelection("/system/sharding/job/*/over").ResolveOne(TimeSpan.FromSeconds(1), Cancel));
    }
}
