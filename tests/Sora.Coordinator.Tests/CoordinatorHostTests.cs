using Sora.Protocol.Api;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Tests;

public sealed class CoordinatorHostTests
{
    [Fact]
    public async Task A_whole_run_from_hello_to_finished()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        var run = await coordinator.Host.SubmitAsync(TestCoordinator.Submission("whole"));
        await using var first = await FakeWorker.DialAsync(coordinator.Host, "w1");
        await using var second = await FakeWorker.DialAsync(coordinator.Host, "w2");
        await Task.WhenAll(first.ProveAsync("same"), second.ProveAsync("same"));
        var generation = (await Task.WhenAll(first.ReadyAsync(), second.ReadyAsync()))[0];
        Assert.NotNull((await first.HearAsync()).Start);
        Assert.NotNull((await second.HearAsync()).Start);
        for (var step = 1UL; step <= 3; step++)
            await first.StepAsync(generation, step);
        await first.FinishAsync(generation, 3, "weights");
        await second.FinishAsync(generation, 3, "weights");

        var events = await TestCoordinator.ToEndAsync(run);

        Assert.IsType<RunStarted>(events[0]);
        Assert.Equal([2000.0, 2000, 2000], events.OfType<StepCommitted>().Select(step => step.TokensPerSecond));
        Assert.Equal("weights", Assert.IsType<RunFinished>(events[^1]).WeightsSha256);
        Assert.NotNull((await first.HearAsync()).Goodbye);
        Assert.True(await first.StreamEndsAsync());
    }
}
