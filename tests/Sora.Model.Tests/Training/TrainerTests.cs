using Sora.Model.Data;
using Sora.Model.Native;
using Sora.Model.Tests.Native;
using Sora.Model.Training;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Training;

[Collection(LibtorchCollection.Name)]
public class TrainerTests
{
    public static TheoryData<ModelKind> Models => new(ModelKind.Decoder, ModelKind.Lstm);

    [Fact]
    public void RunStep_LossFalls()
    {
        var job = TinyJobs.Decoder with { MaxSteps = 60, Model = TinyJobs.Decoder.Model with { Dropout = 0 } };
        using var trainer = TinyJobs.Trainer(job);

        var results = Train(trainer, job.MaxSteps);

        Assert.InRange(results[0].Loss, 3.2, 3.6);   // ln 31 = 3.43, a little less because the tied head favours repeats
        Assert.InRange(results[^1].Loss, 1.5, 2.6);  // every second token is free: half of ln 31 = 1.72
        Assert.Equal(60, results[^1].Step);
        Assert.Equal(job.Lanes * job.MicroBatchesPerLane * job.MicroBatchSize * job.ContextLength, results[0].Tokens);
    }

    [Theory]
    [InlineData(ModelKind.Decoder, 4)]
    [InlineData(ModelKind.Decoder, 5)]
    [InlineData(ModelKind.Lstm, 4)]
    [InlineData(ModelKind.Lstm, 5)]
    public void Weights_DoNotDependOnTheNumberOfWorkers(ModelKind model, int lanes)
    {
        var job = Job(model) with { Lanes = lanes, MaxSteps = 3, MaxEvalBatches = 0 };
        var alone = Outcome(job, new LocalExchange(lanes));

        for (var workers = 1; workers <= 4; workers++)
            Assert.All(new SimulatedCluster(workers, lanes).Run(exchange => Outcome(job, exchange)), outcome => Assert.Equal(alone, outcome));
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void Restore_HalfWay_EndsWithTheSameBytes(ModelKind model)
    {
        foreach (var optimizer in Enum.GetValues<OptimizerKind>())
        {
            var job = Job(model) with { Optim = optimizer };
            using var through = TinyJobs.Trainer(job);
            Train(through, 6);
            using var first = TinyJobs.Trainer(job);
            using var second = TinyJobs.Trainer(job);

            Train(first, 3);
            second.Restore(first.Step, first.Weights, first.OptimizerState);
            Train(second, 6);

            Assert.Equal(Bytes(through.Weights), Bytes(second.Weights));
            Assert.Equal(Bytes(through.OptimizerState), Bytes(second.OptimizerState));
        }
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void GradientCheckpointing_GivesTheSameBytes(ModelKind model)
    {
        using var kept = TinyJobs.Trainer(Job(model));
        using var recomputed = TinyJobs.Trainer(Job(model) with { GradientCheckpointing = true });

        Train(kept, 3);
        Train(recomputed, 3);

        Assert.Equal(Bytes(kept.Weights), Bytes(recomputed.Weights));
    }

    [Fact]
    public void Dropout_ChangesTheResult_AndIsSeeded()
    {
        using var first = TinyJobs.Trainer(TinyJobs.Decoder);
        using var same = TinyJobs.Trainer(TinyJobs.Decoder);
        using var without = TinyJobs.Trainer(TinyJobs.Decoder with { Model = TinyJobs.Decoder.Model with { Dropout = 0 } });

        Train(first, 1);
        manual_seed(123); // whatever else drew random numbers in between
        Train(same, 1);
        Train(without, 1);

        Assert.Equal(Bytes(first.Weights), Bytes(same.Weights));
        Assert.NotEqual(Bytes(first.Weights), Bytes(without.Weights));
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void Bf16_FollowsFp32(ModelKind model)
    {
        using var wide = TinyJobs.Trainer(Job(model) with { MaxSteps = 20 });
        using var narrow = TinyJobs.Trainer(Job(model) with { MaxSteps = 20, Dtype = Precision.Bf16 });

        var (expected, actual) = (Train(wide, 20), Train(narrow, 20));

        Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First.Loss, pair.Second.Loss, 0.05));
        Assert.All(narrow.Weights, weight => Assert.Equal(ScalarType.Float32, weight.Value.dtype));
    }

    [Fact]
    public void Canary_IsTheSameTwice_AndTellsSeedsAndModelsApart()
    {
        string Canary(TrainingJob job)
        {
            using var trainer = TinyJobs.Trainer(job);
            return trainer.Canary();
        }

        var canary = Canary(TinyJobs.Decoder);
        Assert.Matches("^[0-9a-f]{64}$", canary);
        Assert.Equal(canary, Canary(TinyJobs.Decoder));
        Assert.NotEqual(canary, Canary(TinyJobs.Decoder with { Seed = 8 }));
        Assert.NotEqual(canary, Canary(TinyJobs.Lstm));
    }

    [Fact]
    public void Canary_DoesNotDisturbTraining()
    {
        using var asked = TinyJobs.Trainer(TinyJobs.Decoder);
        using var plain = TinyJobs.Trainer(TinyJobs.Decoder);

        var canary = asked.Canary();
        Train(asked, 2);
        Train(plain, 2);

        Assert.Equal(Bytes(plain.Weights), Bytes(asked.Weights));
        Assert.Equal(canary, asked.Canary());
        Assert.Throws<InvalidOperationException>(plain.Canary);
    }

    [Fact]
    public void Evaluate_DoesNotDisturbTraining_AndCountsRealTargetsOnly()
    {
        var job = TinyJobs.Decoder with { MaxEvalBatches = 0 };
        using var data = TinyJobs.Data(job);
        using var exchange = new LocalExchange(job.Lanes);
        using var asked = TinyJobs.Trainer(job);
        using var plain = TinyJobs.Trainer(job);

        Train(asked, 1);
        var evaluation = asked.Evaluate(data, exchange)!;
        Train(asked, 2);
        Train(plain, 2);

        Assert.Equal(Bytes(plain.Weights), Bytes(asked.Weights));
        Assert.Equal((5 * job.MicroBatchSize - 1) * job.ContextLength, evaluation.Tokens); // 5 batches, one row past the end
        Assert.Equal(evaluation.Loss / Math.Log(2) / data.ValidationBytesPerToken, evaluation.BitsPerByte, 12);
    }

    [Fact]
    public void Evaluate_NothingHeldOut_IsNull()
    {
        using var data = new SyntheticData(TinyJobs.VocabSize, 2, 12, validationBatches: 0);
        using var trainer = TinyJobs.Trainer(TinyJobs.Decoder);

        Assert.Null(trainer.Evaluate(data, new LocalExchange(4)));
    }

    [Fact]
    public void RunStep_LossNotFinite_SaysSo_AndAppliesNothing()
    {
        using var trainer = TinyJobs.Trainer(TinyJobs.Decoder);
        using var data = TinyJobs.Data(TinyJobs.Decoder);
        Train(trainer, 1);
        using (no_grad())
            trainer.Weights[0].Value[0, 0] = float.NaN;
        var before = Bytes(trainer.Weights);

        var error = Assert.Throws<NotFiniteException>(() => trainer.RunStep(data, new LocalExchange(4), stopRequested: false));

        Assert.Equal(ExitCode.Diverged, error.ExitCode);
        Assert.Equal([0, 1, 2, 3], error.Lanes);
        Assert.Contains("step 1", error.Message);
        Assert.Equal(1, trainer.Step);
        Assert.Equal(before, Bytes(trainer.Weights));
    }

    [Theory]
    [InlineData(4, 4)]
    [InlineData(5, 5)]
    [InlineData(5, 3)]
    public void RunStep_AfterItBrokeOff_ComputesOnlyTheRest_AndGivesTheSameBytes(int lanes, int owned)
    {
        var job = TinyJobs.Decoder with { Lanes = lanes, MaxSteps = 3 };
        using var undisturbed = TinyJobs.Trainer(job);
        Train(undisturbed, 3);
        using var data = TinyJobs.Data(job);
        for (var microBatches = 0; microBatches <= owned * job.MicroBatchesPerLane; microBatches++)
        {
            using var trainer = TinyJobs.Trainer(job);
            Train(trainer, 1);
            var breaking = new BreakingExchange(lanes, new LaneRange(0, owned), microBatches);
            Assert.Throws<ExchangeBrokenException>(() => trainer.RunStep(data, breaking, stopRequested: false));

            var whole = new BreakingExchange(lanes, new LaneRange(0, lanes), int.MaxValue);
            trainer.RunStep(data, whole, stopRequested: false);

            // The last lane of the broken step was finished only if the exchange itself broke.
            var finished = microBatches == owned * job.MicroBatchesPerLane ? 0 : microBatches / job.MicroBatchesPerLane;
            Assert.Equal((lanes - finished) * job.MicroBatchesPerLane, whole.MicroBatches);
            Train(trainer, 3);
            Assert.Equal(Bytes(undisturbed.Weights), Bytes(trainer.Weights));
        }
    }

    [Fact]
    public void RunStep_WithAnotherState_ComputesEverythingAgain()
    {
        var job = TinyJobs.Decoder with { MaxSteps = 3 };
        using var data = TinyJobs.Data(job);
        using var other = TinyJobs.Trainer(job with { Seed = 8 });
        using var trainer = TinyJobs.Trainer(job);
        Assert.Throws<ExchangeBrokenException>(() => trainer.RunStep(data, new BreakingExchange(4, new LaneRange(0, 4), 3 * job.MicroBatchesPerLane), stopRequested: false));

        trainer.Restore(0, other.Weights, other.OptimizerState);
        var whole = new BreakingExchange(4, new LaneRange(0, 4), int.MaxValue);
        trainer.RunStep(data, whole, stopRequested: false);

        Assert.Equal(4 * job.MicroBatchesPerLane, whole.MicroBatches);
    }

    [Fact]
    public void RunStep_LongGradient_IsClippedToTheNorm()
    {
        // Plain descent moves the weights by learning rate * gradient, so by at most learning rate * max_grad_norm.
        var job = TinyJobs.Decoder with { Optim = OptimizerKind.Sgd, WeightDecay = 0, MaxGradNorm = 1e-3, LearningRate = 1, WarmupSteps = 0 };
        using var trainer = TinyJobs.Trainer(job);
        using var before = NewDisposeScope();
        var initial = trainer.Weights.Select(weight => weight.Value.clone()).ToList();

        var result = Train(trainer, 1)[0];

        var moved = Math.Sqrt(trainer.Weights.Zip(initial).Sum(pair => (pair.First.Value - pair.Second).square().sum().item<float>()));
        Assert.True(result.GradNorm > 1e-3);
        Assert.Equal(1e-3, moved, 1e-6);
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void AdoptState_OfAnothersMemory_EndsWithTheSameBytes(ModelKind model)
    {
        foreach (var (optimizer, dtype) in Enum.GetValues<OptimizerKind>().Select(kind => (kind, Precision.Fp32)).Append((OptimizerKind.AdamW, Precision.Bf16)))
        {
            var job = Job(model) with { Optim = optimizer, Dtype = dtype };
            using var through = TinyJobs.Trainer(job);
            Train(through, 6);
            using var holder = TinyJobs.Trainer(job);
            using var joiner = TinyJobs.Trainer(job);
            Train(holder, 3);
            Train(joiner, 1);

            using var gathered = joiner.NewStateBuffers();
            Copy(holder.StateRegions(), gathered.Regions);
            joiner.AdoptState(holder.Step, gathered);
            Train(joiner, 6);

            Assert.Equal(Bytes(through.Weights), Bytes(joiner.Weights));
            Assert.Equal(Bytes(through.OptimizerState), Bytes(joiner.OptimizerState));
        }
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void Reset_AfterSteps_BeginsTheSameRunAgain(ModelKind model)
    {
        foreach (var (optimizer, dtype) in Enum.GetValues<OptimizerKind>().Select(kind => (kind, Precision.Fp32)).Append((OptimizerKind.AdamW, Precision.Bf16)))
        {
            using var trainer = TinyJobs.Trainer(Job(model) with { Optim = optimizer, Dtype = dtype });
            var initial = Bytes(trainer.Weights) + Bytes(trainer.OptimizerState);
            Train(trainer, 3);
            var trained = Bytes(trainer.Weights) + Bytes(trainer.OptimizerState);

            trainer.Reset();
            Assert.Equal((0, initial), (trainer.Step, Bytes(trainer.Weights) + Bytes(trainer.OptimizerState)));
            Train(trainer, 3);
            Assert.Equal(trained, Bytes(trainer.Weights) + Bytes(trainer.OptimizerState));
        }
    }

    [Fact]
    public void RunStep_ExchangeBreaksBetweenMicroBatches_EndsThere_AndTheNextWorks()
    {
        using var data = TinyJobs.Data(TinyJobs.Decoder);
        using var trainer = TinyJobs.Trainer(TinyJobs.Decoder);
        using var plain = TinyJobs.Trainer(TinyJobs.Decoder);
        var before = Bytes(trainer.Weights);
        var exchange = new BrokenExchange { MicroBatchesLeft = 3 };

        Assert.Throws<ExchangeBrokenException>(() => trainer.RunStep(data, exchange, stopRequested: false));
        Assert.Equal((-1, false), (exchange.MicroBatchesLeft, exchange.Asked));
        Assert.Equal((0, before), (trainer.Step, Bytes(trainer.Weights)));
        Train(trainer, 2);
        Train(plain, 2);

        Assert.Equal(Bytes(plain.Weights), Bytes(trainer.Weights));
    }

    [Fact]
    public void RunStep_BrokenOffManyTimes_LeaksNoTensors()
    {
        using var data = TinyJobs.Data(TinyJobs.Decoder);
        using var trainer = TinyJobs.Trainer(TinyJobs.Decoder);
        Train(trainer, 2);
        BreakOff(); // the first may still make a buffer
        var before = Tensor.TotalCount;
        for (var i = 0; i < 5; i++)
            BreakOff();

        Assert.InRange(Tensor.TotalCount, 0, before); // fewer when finalizers of earlier tests ran

        void BreakOff() => Assert.Throws<ExchangeBrokenException>(() => trainer.RunStep(data, new BrokenExchange { MicroBatchesLeft = 7 }, stopRequested: false));
    }

    [Fact]
    public void Restore_StateOfAnotherOptimizer_IsRefused_AndChangesNothing()
    {
        using var momentum = TinyJobs.Trainer(TinyJobs.Decoder with { Optim = OptimizerKind.Momentum });
        using var adam = TinyJobs.Trainer(TinyJobs.Decoder);
        Train(momentum, 1);
        var before = Bytes(adam.Weights);

        var error = Assert.Throws<SoraException>(() => adam.Restore(1, momentum.Weights, momentum.OptimizerState));

        Assert.Equal(ExitCode.InvalidInput, error.ExitCode);
        Assert.Equal(before, Bytes(adam.Weights));
        Assert.Equal(0, adam.Step);
    }

    [Fact]
    public void RunStep_BrokenExchange_AppliesNothing_AndTheNextWorks()
    {
        using var data = TinyJobs.Data(TinyJobs.Decoder);
        using var trainer = TinyJobs.Trainer(TinyJobs.Decoder);
        using var plain = TinyJobs.Trainer(TinyJobs.Decoder);

        Assert.Throws<ExchangeBrokenException>(() => trainer.RunStep(data, new BrokenExchange(), stopRequested: false));
        Assert.Equal(0, trainer.Step);
        Train(trainer, 2);
        Train(plain, 2);

        Assert.Equal(Bytes(plain.Weights), Bytes(trainer.Weights));
    }

    [Fact]
    public void RunStep_ManyTimes_LeaksNoTensors()
    {
        using var trainer = TinyJobs.Trainer(TinyJobs.Decoder);
        Train(trainer, 2);
        var before = Tensor.TotalCount;
        Train(trainer, 5);

        Assert.InRange(Tensor.TotalCount, 0, before); // fewer when finalizers of earlier tests ran
    }

    private static TrainingJob Job(ModelKind model) => model == ModelKind.Decoder ? TinyJobs.Decoder : TinyJobs.Lstm;

    internal static List<StepResult> Train(Trainer trainer, long until)
    {
        using var data = TinyJobs.Data(trainer.Job);
        using var exchange = new LocalExchange(trainer.Job.Lanes);
        var results = new List<StepResult>();
        while (trainer.Step < until)
            results.Add(trainer.RunStep(data, exchange, stopRequested: false));
        return results;
    }

    // Everything a worker knows at the end, bit for bit.
    internal static string Outcome(TrainingJob job, IGradientExchange exchange)
    {
        using var trainer = TinyJobs.Trainer(job);
        using var data = TinyJobs.Data(job);
        var log = new List<string>();
        while (trainer.Step < job.MaxSteps)
        {
            var step = trainer.RunStep(data, exchange, stopRequested: false);
            log.Add($"{step.Loss:r} {step.GradNorm:r} {step.Tokens}");
        }
        log.Add($"{trainer.Evaluate(data, exchange)!.Loss:r}");
        return string.Join("\n", [.. log, Bytes(trainer.Weights), Bytes(trainer.OptimizerState)]);
    }

    private static unsafe void Copy(IReadOnlyList<StateRegion> from, IReadOnlyList<StateRegion> to)
    {
        Assert.Equal(from.Select(region => region.Bytes), to.Select(region => region.Bytes));
        foreach (var (source, target) in from.Zip(to))
            Buffer.MemoryCopy((void*)source.Address, (void*)target.Address, target.Bytes, source.Bytes);
    }

    internal static string Bytes(IReadOnlyList<NamedTensor> tensors)
    {
        using var hash = System.Security.Cryptography.IncrementalHash.CreateHash(System.Security.Cryptography.HashAlgorithmName.SHA256);
        foreach (var (_, value) in tensors)
        {
            hash.AppendData(HostMemory.BytesOf(value));
            value.Dispose();
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private sealed class BrokenExchange : IGradientExchange
    {
        public LaneRange Lanes => new(0, 4);

        /// <summary>It breaks before one more.</summary>
        public int MicroBatchesLeft { get; set; } = int.MaxValue;

        public bool Asked { get; private set; }

        public StepTotals AllReduce(long step, ReadOnlySpan<SubtreeSum> subtrees, ReadOnlySpan<LaneTotals> totals, bool stopRequested, nint result, long length)
        {
            Asked = true;
            throw new ExchangeBrokenException("The peer is gone.");
        }

        public StepTotals Gather(long step, ReadOnlySpan<LaneTotals> totals) => throw new ExchangeBrokenException("The peer is gone.");

        public void ThrowIfBroken()
        {
            if (MicroBatchesLeft-- == 0)
                throw new ExchangeBrokenException("The peer is gone.");
        }

        public void Dispose()
        {
        }
    }

    /// <summary>Breaks after so many micro-batches; in the sum itself, if all were computed.</summary>
    private sealed class BreakingExchange(int lanes, LaneRange owned, int microBatches) : IGradientExchange
    {
        private readonly LocalExchange _local = new(lanes);

        public int MicroBatches { get; private set; }

        public LaneRange Lanes => owned;

        public StepTotals AllReduce(long step, ReadOnlySpan<SubtreeSum> subtrees, ReadOnlySpan<LaneTotals> totals, bool stopRequested, nint result, long length) =>
            MicroBatches == microBatches ? throw new ExchangeBrokenException("A peer is gone.") : _local.AllReduce(step, subtrees, totals, stopRequested, result, length);

        public StepTotals Gather(long step, ReadOnlySpan<LaneTotals> totals) => _local.Gather(step, totals);

        public void ThrowIfBroken()
        {
            if (MicroBatches == microBatches)
                throw new ExchangeBrokenException("A peer is gone.");
            MicroBatches++;
        }

        public void Dispose() => _local.Dispose();
    }
}
