using CsCheck;
using Sora.Model.Data;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Data;

public class DataPlanTests
{
    private sealed record Case(long[] ShardTokens, int Context, int Lanes, int Micros, int Rows, long Seed)
    {
        public DataPlan Plan() => new(ShardTokens, Context, Lanes, Micros, Rows, Seed);

        /// <summary>A lane's samples of one epoch, in the order in which steps read them.</summary>
        public IEnumerable<SampleAddress> Epoch(DataPlan plan, long epoch, int lane)
        {
            var perStep = (long)Micros * Rows;
            for (var position = epoch * plan.SamplesPerLanePerEpoch; position < (epoch + 1) * plan.SamplesPerLanePerEpoch; position++)
                yield return plan.Sample(position / perStep, lane, (int)(position % perStep / Rows), (int)(position % Rows));
        }
    }

    private static readonly Gen<Case> Cases =
        from lanes in Gen.Int[1, 6]
        from context in Gen.Int[1, 8]
        from shards in Gen.Long[0, 4000].Array[1, 4]
        from micros in Gen.Int[1, 3]
        from rows in Gen.Int[1, 5]
        from seed in Gen.Long
        where shards.Sum(tokens => DataPlan.SamplesIn(tokens, context)) >= lanes
        select new Case(shards, context, lanes, micros, rows, seed);

    [Fact]
    public void Sample_OneEpochOfAllLanes_VisitsEveryKeptSampleExactlyOnce() => Cases.Sample(test =>
    {
        var plan = test.Plan();
        var visited = Enumerable.Range(0, test.Lanes).SelectMany(lane => test.Epoch(plan, 2, lane)).ToList();

        Assert.Equal(visited.Count, visited.Distinct().Count());
        Assert.Equal(plan.Samples - plan.UnusedSamples - (plan.BlocksLeftOutPerEpoch * plan.SamplesPerBlock), visited.Count);
        Assert.True(plan.UnusedSamples < (long)plan.SamplesPerBlock * test.ShardTokens.Length);
        Assert.InRange(plan.BlocksLeftOutPerEpoch, 0, test.Lanes - 1);
        Assert.All(visited, sample =>
        {
            Assert.Equal(0, sample.Token % test.Context);
            Assert.True(sample.Token + test.Context + 1 <= test.ShardTokens[sample.Shard]);
        });
    }, iter: 100);

    [Fact]
    public void Sample_StaysInsideTheLanesBlocks_WhichNoOtherLaneHas() => Cases.Sample(test =>
    {
        var plan = test.Plan();
        var owned = Enumerable.Range(0, test.Lanes).Select(lane => plan.LaneBlocks(1, lane).ToList()).ToList();

        Assert.All(owned, blocks => Assert.Equal(plan.BlocksPerLane, blocks.Count));
        Assert.Equal(owned.Sum(blocks => blocks.Count), owned.SelectMany(blocks => blocks).DistinctBy(block => block.Index).Count());
        for (var lane = 0; lane < test.Lanes; lane++)
            Assert.All(test.Epoch(plan, 1, lane), sample => Assert.Contains(owned[lane], block =>
                block.Shard == sample.Shard && block.FirstToken <= sample.Token && sample.Token + test.Context + 1 <= block.FirstToken + block.TokenCount));
    }, iter: 30);

    [Fact]
    public void Sample_OfAStepAndLane_DependsOnNothingElse() => Cases.Sample(test =>
    {
        // Whoever owns the lanes, in whatever order they ask, also after starting in the middle: the address is the same.
        var (one, other) = (test.Plan(), test.Plan());
        var asked = (from step in Enumerable.Range(0, 7) from lane in Enumerable.Range(0, test.Lanes) select (step, lane)).ToList();
        var forwards = asked.ToDictionary(key => key, key => one.Sample(key.step, key.lane, test.Micros - 1, test.Rows - 1));
        asked.Reverse();
        Assert.All(asked, key => Assert.Equal(forwards[key], other.Sample(key.step, key.lane, test.Micros - 1, test.Rows - 1)));
    }, iter: 50);

    [Fact]
    public void Sample_OtherSeedOrEpoch_OtherOrder()
    {
        var test = new Case([100_000], 8, 2, 1, 4, 42);
        var order = test.Epoch(test.Plan(), 0, 0).ToList();
        Assert.NotEqual(order, test.Epoch(test.Plan(), 1, 0).ToList());
        Assert.NotEqual(order, test.Epoch((test with { Seed = 43 }).Plan(), 0, 0).ToList());
    }

    [Fact]
    public void Sample_Epochs_LeaveOutDifferentBlocks()
    {
        var plan = new DataPlan([8 * 100 + 1], 8, lanes: 3, 1, 1, seed: 1);
        Assert.Equal(1, plan.BlocksLeftOutPerEpoch);
        var leftOut = Enumerable.Range(0, 20).Select(epoch =>
            Enumerable.Range(0, 100).Except(Enumerable.Range(0, 3).SelectMany(lane => plan.LaneBlocks(epoch, lane)).Select(block => (int)block.Index)).Single());
        Assert.True(leftOut.Distinct().Count() > 10);
    }

    [Fact]
    public void SamplesPerBlock_LargeCorpus_IsBounded_AndSmallCorpus_StillGivesEveryLaneBlocks()
    {
        Assert.Equal(256, new DataPlan([1L << 40], 1024, 64, 1, 8, 1).SamplesPerBlock);
        var plan = new DataPlan([256 * 64 * 4 * 10 + 1], 256, 4, 1, 8, 1);
        Assert.Equal(10, plan.SamplesPerBlock);
        Assert.Equal(64, plan.BlocksPerLane);
        Assert.Equal(1, new DataPlan([4 * 10 + 1], 4, 8, 1, 8, 1).SamplesPerBlock);
    }

    [Fact]
    public void Sample_EpochShorterThanAStep_GoesOnWithTheNextEpoch()
    {
        var plan = new DataPlan([2 * 4 + 1], contextLength: 4, lanes: 2, 1, microBatchSize: 5, seed: 1);
        Assert.Equal(1, plan.SamplesPerLanePerEpoch);
        Assert.Equal(0.2, plan.StepsPerEpoch);
        Assert.Equal([0, 1, 2, 3, 4], Enumerable.Range(0, 5).Select(row => plan.Epoch(0, 0, row)));
        Assert.All(Enumerable.Range(0, 5), row => Assert.NotEqual(plan.Sample(3, 0, 0, row), plan.Sample(3, 1, 0, row)));
    }

    [Fact]
    public void Constructor_FewerSamplesThanLanes_SaysWhatToDo()
    {
        var error = Assert.Throws<SoraException>(() => new DataPlan([1024], 256, 4, 1, 8, 1));
        Assert.Equal(ExitCode.InvalidInput, error.ExitCode);
        Assert.Contains("3 samples of 256 tokens", error.Message);
        Assert.Contains("lower context_length or lanes", error.Message);
    }

    [Fact]
    public void Sample_FirstAddresses_AreTheOnesEveryRunSoFarHasUsed()
    {
        // Changing the plan changes every run: this test is here to make that a decision.
        var plan = new DataPlan([100_001, 50_001], 100, 4, 2, 2, 42);
        Assert.Equal(
            "0:40500 1:8000 0:75900 0:66100 0:55300 1:21200",
            string.Join(' ', Enumerable.Range(0, 6).Select(i => plan.Sample(i * 31, i % 4, i % 2, i / 4)).Select(sample => $"{sample.Shard}:{sample.Token}")));
    }
}
