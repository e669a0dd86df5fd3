using Sora.Model.Checkpoints;
using Sora.Model.Training;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Worker.Work;

namespace Sora.Worker.Tests.Work;

[Collection(TrainerCollection.Name)]
public class RunWorkTests(SmallCorpus small) : IClassFixture<SmallCorpus>
{
    [Fact]
    public void Generations_that_follow_each_other_end_with_the_weights_of_the_undisturbed_run()
    {
        var whole = new Worker(small, "whole");
        var end = whole.Train(0);
        Assert.Equal((4, false), (end.Step, end.Halted));
        Assert.Equal(end.WeightsSha256, CheckpointFolder.Open(whole.Checkpoints[4]).WeightsHash);
        whole.Dispose();

        using var halting = new Worker(small, "halting");
        Assert.Equal(new WorkEnd(2, Halted: true, ""), halting.Train(0, haltAfter: 2));
        Assert.Empty(halting.Checkpoints);
        Assert.Throws<ExchangeBrokenException>(() => halting.Train(2, breakIn: 3));
        Assert.Equal(3, halting.Work.HeldStep);
        Assert.Equal(end, halting.Train(3));
        Assert.Equal([1, 2, 3, 4], halting.Steps.Select(step => step.Step));
        Assert.Equal(whole.Steps.Select(step => (step.Loss, step.GradNorm)), halting.Steps.Select(step => (step.Loss, step.GradNorm)));
    }

    [Fact]
    public void A_state_saved_on_request_or_nothing_at_all_is_a_beginning_too()
    {
        var first = new Worker(small, "saved");
        Assert.Equal(-1, first.Work.HeldStep);
        var end = first.Train(0);
        Assert.Equal(end, first.Begin("", 0).Train(0));

        first.Begin("", 0).Train(0, haltAfter: 2);
        first.Work.Save(3, first);
        Assert.Equal("this worker holds the state of step 2", first.Problems[3]);
        first.Work.Save(2, first);
        first.Dispose();

        using var second = new Worker(small, "saved");
        second.Begin(first.Checkpoints[2], 2);
        Assert.Equal(2, second.Work.HeldStep);
        Assert.Equal(end, second.Train(2));
        // Back to where it was, although it holds a later state.
        Assert.Equal(end, second.Begin(first.Checkpoints[2], 2).Train(2));
        var error = Assert.Throws<SoraException>(() => second.Begin(first.Checkpoints[2], 1));
        Assert.Contains("goes on from step 1", error.Message);
    }

    [Fact]
    public void Every_so_many_steps_the_state_is_hashed_which_tells_any_difference()
    {
        var job = small.Job with { VerifySteps = 2 };
        var first = new Worker(small, "hashed", job);
        first.Train(0);
        first.Dispose();
        using var same = new Worker(small, "hashed", job);
        same.Train(0);
        Assert.Equal([2, 4], first.Hashes.Keys);
        Assert.Equal(first.Hashes, same.Hashes);

        var before = StateHash.Of(same.Work.StateRegions());
        Assert.Equal(same.Hashes[4], before);
        Flip(same.Work.StateRegions()[^1]);
        Assert.NotEqual(before, StateHash.Of(same.Work.StateRegions()));

        static unsafe void Flip(StateRegion region) => ((byte*)region.Address)[region.Bytes - 1] ^= 1;
    }

    [Fact]
    public void A_worker_that_does_not_write_checkpoints_reports_the_hash_a_checkpoint_would_have()
    {
        var writer = new Worker(small, "writer");
        var end = writer.Train(0);
        writer.Dispose();
        using var other = new Worker(small, "other");
        Assert.Equal(end, other.Train(0, writes: false));
        Assert.Empty(other.Checkpoints);
        Assert.False(Directory.Exists(Path.Combine(small.Folder, "other", "checkpoints")));
    }

    [Fact]
    public void A_disk_that_takes_no_checkpoint_is_reported_and_tried_again_and_the_last_one_must_succeed()
    {
        File.WriteAllText(Path.Combine(small.Folder, "full"), "not a folder");
        using var worker = new Worker(small, "full", small.Job with { SaveSteps = 1, SaveAsync = false });
        Assert.Equal(3, worker.Train(0, haltAfter: 3).Step);
        Assert.Equal([1, 2], worker.Problems.Keys);
        Assert.Contains("tries again when the next one is due", worker.Problems[2]);

        // What was due at the boundary is made up for.
        Assert.Throws<ExchangeBrokenException>(() => worker.Train(3, saved: 0, breakIn: 3));
        Assert.Equal([1, 2, 3], worker.Problems.Keys);

        worker.Work.Save(3, worker);
        Assert.DoesNotContain("tries again", worker.Problems[3]);

        var error = Assert.Throws<CheckpointWriteException>(() => worker.Train(3, saved: 3));
        Assert.Contains("Cannot write the checkpoint of step 4", error.Message);

        File.Delete(Path.Combine(small.Folder, "full"));
        Assert.Equal(4, worker.Train(4, saved: 3).Step);
        Assert.Equal([4], worker.Checkpoints.Keys);
    }

    [Fact]
    public void Checkpoints_written_beside_the_training_hold_what_blocking_ones_hold_and_are_all_there_at_the_end()
    {
        var job = small.Job with { SaveSteps = 1, SaveTotalLimit = 0 };
        var blocking = new Worker(small, "blocking", job with { SaveAsync = false });
        var end = blocking.Train(0);
        blocking.Dispose();
        using var beside = new Worker(small, "beside", job);
        Assert.Equal(end, beside.Train(0));
        Assert.Equal([1, 2, 3, 4], beside.Checkpoints.Keys);
        foreach (var (step, path) in beside.Checkpoints)
        {
            Assert.Empty(CheckpointFolder.Verify(path));
            Assert.Equal(CheckpointFolder.Open(blocking.Checkpoints[step]).WeightsHash, CheckpointFolder.Open(path).WeightsHash);
        }
        Assert.Empty(beside.Problems);
    }

    [Fact]
    public void A_disk_that_takes_no_checkpoint_beside_the_training_is_reported_and_tried_again()
    {
        File.WriteAllText(Path.Combine(small.Folder, "full-beside"), "not a folder");
        using var worker = new Worker(small, "full-beside", small.Job with { SaveSteps = 1 });
        Assert.Equal(3, worker.Train(0, haltAfter: 3).Step);
        worker.Work.Save(3, worker); // waits for those before
        Assert.Equal([1, 2, 3], worker.Problems.Keys);
        Assert.Contains("tries again when the next one is due", worker.Problems[2]);

        File.Delete(Path.Combine(small.Folder, "full-beside"));
        Assert.Equal(4, worker.Train(3, saved: 0).Step);
        Assert.Equal([3, 4], worker.Checkpoints.Keys);
    }

    /// <summary>A worker that owns all lanes, and what it reports.</summary>
    private sealed class Worker : IWorkReports, IDisposable
    {
        private readonly int _lanes;
        private long _haltAfter;

        public Worker(SmallCorpus small, string output, TrainingJob? job = null)
        {
            _lanes = small.Job.Lanes;
            Work = small.Work();
            Work.Prove(small.Assignment(small.Corpus.Folder, output, job), TestContext.Current.CancellationToken);
        }

        public RunWork Work { get; }

        public List<StepResult> Steps { get; } = [];

        public SortedDictionary<long, string> Checkpoints { get; } = [];

        public SortedDictionary<long, string> Problems { get; } = [];

        public SortedDictionary<long, string> Hashes { get; } = [];

        public Worker Begin(string checkpoint, long step)
        {
            Work.Restore(checkpoint, step);
            return this;
        }

        public WorkEnd Train(long firstStep, long haltAfter = long.MaxValue, long breakIn = -1, long saved = -1, bool writes = true)
        {
            if (Work.HeldStep < 0)
                Begin("", firstStep);
            Assert.Equal(firstStep, Work.HeldStep);
            _haltAfter = haltAfter;
            using var exchange = new BreakingExchange(_lanes, () => Work.HeldStep == breakIn);
            var generation = new WorkerGeneration("run", 1, [], firstStep, default) { SavedStep = saved };
            return Work.Train(generation, exchange, writes ? 0 : 1, () => Work.HeldStep == _haltAfter - 1, this);
        }

        public void Committed(long step, double computeSeconds, double waitSeconds) => Assert.Equal(step, Work.HeldStep);

        public void StateHash(long step, string hash) => Hashes[step] = hash;

        public void Step(StepResult step) => Steps.Add(step);

        public void Evaluation(EvaluationResult evaluation) => Assert.Fail("there is nothing held out");

        public void Checkpoint(long step, string path, string weightsSha256, TimeSpan duration)
        {
            Assert.True(Directory.Exists(path));
            lock (Checkpoints)
                Checkpoints[step] = path;
        }

        public void NoCheckpoint(long step, string reason)
        {
            lock (Problems)
                Problems[step] = reason;
        }

        // Only when the machine is so slow that a save takes longer than a step.
        public void Warning(string message) => Assert.Contains("was still being written", message);

        public void Dispose() => Work.Dispose();
    }

    /// <summary>The exchange of a worker on its own, which breaks before the second micro-batch of a step.</summary>
    private sealed class BreakingExchange(int lanes, Func<bool> inStep) : IGradientExchange
    {
        private readonly LocalExchange _whole = new(lanes);
        private int _left = 2;

        public LaneRange Lanes => _whole.Lanes;

        public StepTotals AllReduce(long step, ReadOnlySpan<SubtreeSum> subtrees, ReadOnlySpan<LaneTotals> totals, bool stopRequested, nint result, long length) =>
            _whole.AllReduce(step, subtrees, totals, stopRequested, result, length);

        public StepTotals Gather(long step, ReadOnlySpan<LaneTotals> totals) => _whole.Gather(step, totals);

        public void ThrowIfBroken()
        {
            if (inStep() && --_left == 0)
                throw new ExchangeBrokenException("worker-1 is gone");
        }

        public void Dispose()
        {
        }
    }
}
