using Sora.Model.Checkpoints;
using Sora.Model.Training;
using Sora.Worker.Work;

namespace Sora.Worker.Tests.Work;

public class RunWorkTests(SmallCorpus small) : IClassFixture<SmallCorpus>
{
    [Fact]
    public void A_run_stopped_and_resumed_ends_with_the_weights_of_the_undisturbed_one()
    {
        var whole = Run("whole", "", stopAfter: long.MaxValue);
        Assert.Equal((4, false), (whole.End.Step, whole.End.Stopped));
        Assert.Equal(whole.End.WeightsSha256, CheckpointFolder.Open(whole.End.Checkpoint).WeightsHash);

        var half = Run("halves", "", stopAfter: 2);
        Assert.Equal((2, true), (half.End.Step, half.End.Stopped));
        Assert.NotEqual(whole.End.WeightsSha256, half.End.WeightsSha256);

        var rest = Run("halves", half.End.Checkpoint, stopAfter: long.MaxValue);
        Assert.Equal([3, 4], rest.Reports.Steps.Select(step => step.Step));
        Assert.Equal(whole.End.WeightsSha256, rest.End.WeightsSha256);
        Assert.Equal(whole.Canary, rest.Canary);
    }

    [Fact]
    public void A_worker_that_does_not_write_checkpoints_reports_the_hash_a_checkpoint_would_have()
    {
        var writer = Run("writer", "", stopAfter: long.MaxValue);
        var other = Run("other", "", stopAfter: long.MaxValue, writes: false);
        Assert.Equal("", other.End.Checkpoint);
        Assert.Equal(writer.End.WeightsSha256, other.End.WeightsSha256);
        Assert.False(Directory.Exists(Path.Combine(small.Folder, "other", "checkpoints")));
    }

    private (string Canary, WorkEnd End, Collected Reports) Run(string output, string resumeFrom, long stopAfter, bool writes = true)
    {
        // Tests of a class run one after the other: only one trainer may compute in a process at a time.
        using var work = small.Work();
        var reports = new Collected { OnStep = step => { if (step == stopAfter - 1) work.RequestStop(checkpoint: true); } };
        var proof = work.Prove(small.Assignment(small.Corpus.Folder, output, resumeFrom), TestContext.Current.CancellationToken);
        work.Restore(reports);
        using var exchange = new LocalExchange(small.Job.Lanes);
        return (proof.Canary, work.Train(exchange, writes, reports), reports);
    }

    private sealed class Collected : IWorkReports
    {
        public List<StepResult> Steps { get; } = [];

        public Action<long> OnStep { get; init; } = _ => { };

        public void Step(StepResult step)
        {
            Steps.Add(step);
            OnStep(step.Step);
        }

        public void Evaluation(EvaluationResult evaluation) => Assert.Fail("there is nothing held out");

        public void Checkpoint(long step, string path, string weightsSha256, TimeSpan duration) => Assert.True(Directory.Exists(path));

        public void Warning(string message) => Assert.Fail(message);
    }
}
