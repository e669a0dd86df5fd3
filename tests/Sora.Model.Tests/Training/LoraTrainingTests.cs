using Sora.Model.Checkpoints;
using Sora.Model.Tests.Native;
using Sora.Model.Training;
using Sora.Model.Zoo;
using Sora.Protocol.Jobs;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Training;

[Collection(LibtorchCollection.Name)]
public class LoraTrainingTests
{
    private static readonly TrainingJob _job = TinyJobs.Decoder with
    {
        Lora = new LoraSettings { R = 4, LoraAlpha = 8, LoraDropout = 0.1, TargetModules = [LoraSettings.AllLinear] },
    };

    [Fact]
    public void RunStep_LossFalls_AndOnlyTheAdaptersChange()
    {
        // What is frozen here was never trained: larger weights, so that there is something for adapters to steer.
        var job = _job with { MaxSteps = 60, LearningRate = 3e-2, Model = _job.Model with { Dropout = 0, InitializerRange = 0.3 }, Lora = _job.Lora with { LoraDropout = 0 } };
        using var trainer = TinyJobs.Trainer(job);
        var (frozen, adapters) = (TrainerTests.Bytes(trainer.Model.NamedWeights()), TrainerTests.Bytes(trainer.Weights));

        var results = TrainerTests.Train(trainer, job.MaxSteps);

        Assert.True(results[^1].Loss < results[0].Loss - 0.3, $"{results[0].Loss} -> {results[^1].Loss}");
        Assert.Equal(frozen, TrainerTests.Bytes(trainer.Model.NamedWeights()));
        Assert.NotEqual(adapters, TrainerTests.Bytes(trainer.Weights));
    }

    [Fact]
    public void State_HoldsTheAdaptersOnly()
    {
        using var trainer = TinyJobs.Trainer(_job);

        // Of hidden size 16: q 16 -> 16, k and v 16 -> 8, o 16 -> 16, gate and up 16 -> 64, down 64 -> 16, in two layers.
        var values = 2 * 4 * (32 + 24 + 24 + 32 + 80 + 80 + 80);
        Assert.Equal(values, trainer.ParameterCount);
        Assert.Equal(values, trainer.GradientLength); // all multiples of the alignment
        Assert.All(trainer.StateRegions(), region => Assert.Equal(values * sizeof(float), region.Bytes));
        Assert.Equal(28, trainer.Weights.Count);
        Assert.All(trainer.Weights, weight => Assert.StartsWith("base_model.model.model.layers.", weight.Name));
    }

    [Theory]
    [InlineData(4)]
    [InlineData(5)]
    public void Weights_DoNotDependOnTheNumberOfWorkers(int lanes)
    {
        var job = _job with { Lanes = lanes, MaxSteps = 3 };
        var alone = TrainerTests.Outcome(job, new LocalExchange(lanes));

        for (var workers = 1; workers <= 3; workers++)
            Assert.All(new SimulatedCluster(workers, lanes).Run(exchange => TrainerTests.Outcome(job, exchange)), outcome => Assert.Equal(alone, outcome));
    }

    [Fact]
    public void Restore_HalfWay_EndsWithTheSameBytes()
    {
        using var through = TinyJobs.Trainer(_job);
        TrainerTests.Train(through, 6);
        using var first = TinyJobs.Trainer(_job);
        using var second = TinyJobs.Trainer(_job);

        TrainerTests.Train(first, 3);
        second.Restore(first.Step, first.Weights, first.OptimizerState);
        TrainerTests.Train(second, 6);

        Assert.Equal(TrainerTests.Bytes(through.Weights), TrainerTests.Bytes(second.Weights));
        Assert.Equal(TrainerTests.Bytes(through.OptimizerState), TrainerTests.Bytes(second.OptimizerState));
    }

    [Fact]
    public void GradientCheckpointing_GivesTheSameBytes()
    {
        // With adapters in the second layer only, nothing runs backward below it.
        var job = _job with { Lora = _job.Lora with { TargetModules = ["model.layers.1.self_attn.q_proj", "model.layers.1.mlp.down_proj"] } };
        using var kept = TinyJobs.Trainer(job);
        using var recomputed = TinyJobs.Trainer(job with { GradientCheckpointing = true });

        TrainerTests.Train(kept, 3);
        TrainerTests.Train(recomputed, 3);

        Assert.Equal(4, kept.Weights.Count);
        Assert.Equal(TrainerTests.Bytes(kept.Weights), TrainerTests.Bytes(recomputed.Weights));
    }

    [Fact]
    public void LoraDropout_ChangesTheResult_AndIsSeeded()
    {
        using var first = TinyJobs.Trainer(_job);
        using var same = TinyJobs.Trainer(_job);
        using var without = TinyJobs.Trainer(_job with { Lora = _job.Lora with { LoraDropout = 0 } });

        TrainerTests.Train(first, 2);
        manual_seed(123); // whatever else drew random numbers in between
        TrainerTests.Train(same, 2);
        TrainerTests.Train(without, 2);

        Assert.Equal(TrainerTests.Bytes(first.Weights), TrainerTests.Bytes(same.Weights));
        Assert.NotEqual(TrainerTests.Bytes(first.Weights), TrainerTests.Bytes(without.Weights));
    }

    [Fact]
    public void Bf16_FollowsFp32()
    {
        using var wide = TinyJobs.Trainer(_job with { MaxSteps = 20 });
        using var narrow = TinyJobs.Trainer(_job with { MaxSteps = 20, Dtype = Precision.Bf16 });

        var (expected, actual) = (TrainerTests.Train(wide, 20), TrainerTests.Train(narrow, 20));

        Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First.Loss, pair.Second.Loss, 0.05));
        Assert.All(narrow.Weights, weight => Assert.Equal(ScalarType.Float32, weight.Value.dtype));
        Assert.All(narrow.Model.Weights, weight => Assert.Equal(ScalarType.BFloat16, weight.Value.dtype));
    }

    [Fact]
    public void BaseWeights_AreWhatTheAdaptersAreAddedTo_AndBelongToTheCanary()
    {
        using var trained = TinyJobs.Trainer(TinyJobs.Decoder);
        TrainerTests.Train(trained, 4);
        using var adapted = new Trainer(_job, TinyJobs.VocabSize, CPU, baseWeights: () => Copies(trained.Weights));
        using var other = TinyJobs.Trainer(_job);

        Assert.Equal(TrainerTests.Bytes(trained.Weights), TrainerTests.Bytes(InFileOrder(trained, adapted)));
        Assert.Equal(Logits(trained), Logits(adapted));
        Assert.NotEqual(other.Canary(), adapted.Canary());
    }

    [Fact]
    public void BaseWeights_WithoutAdapters_AreTheInitialOnes_AlsoAfterAReset()
    {
        using var trained = TinyJobs.Trainer(TinyJobs.Decoder);
        TrainerTests.Train(trained, 4);
        using var tuned = new Trainer(TinyJobs.Decoder with { Seed = 99 }, TinyJobs.VocabSize, CPU, baseWeights: () => Copies(trained.Weights));

        Assert.Equal(TrainerTests.Bytes(trained.Weights), TrainerTests.Bytes(tuned.Weights));
        TrainerTests.Train(tuned, 2);
        Assert.NotEqual(TrainerTests.Bytes(trained.Weights), TrainerTests.Bytes(tuned.Weights));
        tuned.Reset();
        Assert.Equal(TrainerTests.Bytes(trained.Weights), TrainerTests.Bytes(tuned.Weights));
    }

    [Fact]
    public void Reset_GoesBackToFreshAdapters()
    {
        using var trainer = TinyJobs.Trainer(_job);
        var fresh = TrainerTests.Bytes(trainer.Weights);
        TrainerTests.Train(trainer, 2);

        trainer.Reset();

        Assert.Equal(fresh, TrainerTests.Bytes(trainer.Weights));
        using var plain = TinyJobs.Trainer(_job);
        TrainerTests.Train(trainer, 2);
        TrainerTests.Train(plain, 2);
        Assert.Equal(TrainerTests.Bytes(plain.Weights), TrainerTests.Bytes(trainer.Weights));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Begin_AtTheInitialWeights_IsARunFromTheBeginning(bool adapters)
    {
        var job = adapters ? _job : TinyJobs.Decoder;
        using var trainer = TinyJobs.Trainer(job);
        var initial = Values(trainer);
        TrainerTests.Train(trainer, 3);
        var (trained, bytes) = (Values(trainer), TrainerTests.Bytes(trainer.Weights));

        trainer.Begin(0, initial);
        Assert.Equal(initial, Values(trainer));
        TrainerTests.Train(trainer, 3);

        Assert.Equal(bytes, TrainerTests.Bytes(trainer.Weights));
        Assert.Equal(trained, trainer.Weights.SelectMany(weight => weight.Value.contiguous().data<float>().ToArray()));
        Assert.Throws<ArgumentOutOfRangeException>(() => trainer.Begin(0, new float[3]));
    }

    [Fact]
    public void Begin_AtALaterStep_FollowsItsDataAndDropout_WithAFreshOptimizer()
    {
        var job = _job with { MaxSteps = 100, LearningRate = 1e-3, WarmupSteps = 0, LrSchedulerType = SchedulerKind.Constant, WeightDecay = 0 };
        using var trainer = TinyJobs.Trainer(job);
        using var other = TinyJobs.Trainer(job);
        var initial = Values(trainer);
        TrainerTests.Train(trainer, 5);

        trainer.Begin(50, initial);
        TrainerTests.Train(trainer, 51);
        other.Begin(20, initial);
        TrainerTests.Train(other, 21);

        // Adam's first update is the learning rate in every direction; were the count 50, three times that.
        var change = Values(trainer).Zip(initial, (now, before) => Math.Abs(now - before)).Max();
        Assert.InRange(change, 0.9e-3, 1.001e-3);
        Assert.NotEqual(Values(trainer), Values(other));
    }

    private static float[] Values(Trainer trainer)
    {
        var values = new float[trainer.ParameterCount];
        trainer.CopyWeightsTo(values);
        return values;
    }

    private static OwnedTensors Copies(IReadOnlyList<NamedTensor> weights) =>
        new([.. weights.Select(weight => new NamedTensor(weight.Name, weight.Value.detach().clone().DetachFromDisposeScope()))]);

    // The frozen weights in the order in which a trainer of all weights gives them.
    private static List<NamedTensor> InFileOrder(Trainer like, Trainer trainer)
    {
        var byName = trainer.Model.NamedWeights().ToDictionary(weight => weight.Name);
        return [.. like.Weights.Select(weight => byName[weight.Name])];
    }

    private static float[] Logits(Trainer trainer)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        trainer.Model.eval();
        var logits = trainer.Model.forward(tensor(new long[] { 1, 2, 3 }).unsqueeze(0)).data<float>().ToArray();
        trainer.Model.train();
        return logits;
    }
}
