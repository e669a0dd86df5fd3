using Sora.Cli.Train;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Tests.Train;

public class RunPlanTests
{
    private static readonly TrainingJob Job = new() { MaxSteps = 10, Lanes = 4, MicroBatchSize = 2, ContextLength = 100 };

    [Fact]
    public void The_plan_counts_tokens_epochs_bytes_and_checkpoint()
    {
        var plan = RunPlan.Of(Job, WorkerRange.Of(2), vocabSize: 1000, parameters: 1_000_000, flopsPerToken: 6e6, corpusTokens: 4000);

        Assert.Equal((800, 8000, 2.0), (plan.TokensPerStep, plan.TotalTokens, plan.Epochs!.Value));
        Assert.Equal(4_000_000, plan.BytesSentPerStepPerWorker); // 2 (2-1)/2 x 4 bytes x parameters
        Assert.Equal(12_000_000, plan.CheckpointBytes);          // weights and two moments
        Assert.InRange(plan.MemoryBytesPerWorker, 20_000_000, 100_000_000);
    }

    [Fact]
    public void One_worker_sends_nothing_and_plain_gradient_descent_keeps_nothing()
    {
        var plan = RunPlan.Of(Job with { Optim = OptimizerKind.Sgd }, WorkerRange.Of(1), 1000, 1_000_000, 6e6, corpusTokens: null);

        Assert.Equal((0, 4_000_000), (plan.BytesSentPerStepPerWorker, plan.CheckpointBytes));
        Assert.Contains("not prepared yet", plan.ToText());
    }

    [Fact]
    public void A_range_is_planned_for_as_few_workers_as_it_begins_with()
    {
        var plan = RunPlan.Of(Job, WorkerRange.Between(2, 4), vocabSize: 1000, parameters: 1_000_000, flopsPerToken: 6e6, corpusTokens: null);

        Assert.Equal((2, 4), (plan.Workers, plan.MaxWorkers));
        Assert.Contains("2 at least, 4 at most, sharing 4 lanes", plan.ToText());
    }

    [Fact]
    public void A_run_larger_than_the_machine_is_warned_of_and_one_far_larger_is_refused()
    {
        var plan = RunPlan.Of(Job with { Device = "cpu" }, WorkerRange.Of(2), 1000, 1_000_000, 6e6, corpusTokens: null);
        var two = 2 * plan.MemoryBytesPerWorker;

        Assert.Null(MemoryCheck.Of(plan, 2, two));
        Assert.Null(MemoryCheck.Of(plan, 0, 1)); // they are elsewhere
        Assert.Null(MemoryCheck.Of(plan with { Device = "cuda" }, 2, 1));
        Assert.StartsWith("the 2 workers of this machine need about ", MemoryCheck.Of(plan, 2, two - 1));
        var refused = Assert.Throws<SoraException>(() => MemoryCheck.Of(plan, 2, plan.MemoryBytesPerWorker - 1));
        Assert.Equal(ExitCode.Usage, refused.ExitCode);
        Assert.Contains("--workers", refused.Message);
    }
}
