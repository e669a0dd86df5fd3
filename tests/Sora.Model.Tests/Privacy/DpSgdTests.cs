using Sora.Model.Privacy;
using Sora.Model.Tests.Native;
using Sora.Model.Tests.Training;
using Sora.Model.Training;
using Sora.Model.Zoo;
using Sora.Protocol.Exchange;
using Sora.Protocol.Jobs;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Privacy;

[Collection(LibtorchCollection.Name)]
public class DpSgdTests
{
    private static readonly TrainingJob _job = TinyJobs.Decoder with
    {
        MaxSteps = 3,
        Lora = new LoraSettings { R = 4, LoraAlpha = 8, TargetModules = [LoraSettings.AllLinear] },
        Model = TinyJobs.Decoder.Model with { Dropout = 0 },
    };

    private static readonly DpSgdOptions _none = new() { MaxGradNorm = double.PositiveInfinity, NoiseMultiplier = 0, Secret = default, Context = "" };

    private static readonly DpSgdOptions _private = new() { MaxGradNorm = 0.05, NoiseMultiplier = 0.8, Secret = Enumerable.Range(1, 32).Select(i => (byte)i).ToArray(), Context = "test" };

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void NoClippingAndNoNoise_IsPlainTraining(bool adapters)
    {
        var job = adapters ? _job : _job with { Lora = new LoraSettings() };
        using var plain = TinyJobs.Trainer(job);
        using var bounded = Trainer(job, _none);

        var (expected, actual) = (TrainerTests.Train(plain, 3), TrainerTests.Train(bounded, 3));

        Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First.Loss, pair.Second.Loss, 1e-6));
        foreach (var (one, other) in plain.Weights.Zip(bounded.Weights))
            Zoo.Near.Equal(one.Value, other.Value, 1e-5); // Adam divides by the root of a small number
    }

    [Fact]
    public void NoClippingAndNoNoise_GradientIsTheSumOfAllSamples()
    {
        var tokens = Tokens(_job.MicroBatchSize);
        var (plain, bounded) = (Sum(_job, null, tokens), Sum(_job, _none, tokens));

        Assert.All(plain.Zip(bounded), pair => Assert.Equal(pair.First, pair.Second, 1e-6 * Math.Max(1, Math.Abs(pair.First))));
    }

    [Theory]
    [InlineData(1e-3)]
    [InlineData(0.02)]
    [InlineData(0.3)]
    public void OneSample_ChangesTheSumByTheClippingNormAtMost(double bound)
    {
        var job = _job with { MicroBatchSize = 5 };
        var options = _none with { MaxGradNorm = bound };
        var all = Tokens(job.MicroBatchSize);
        var limit = bound * job.ContextLength * (1 + 1e-6);
        var sum = Sum(job, options, all);
        for (var row = 0; row < job.MicroBatchSize; row++)
        {
            var without = all.ToArray();
            without.AsSpan(row * (job.ContextLength + 1), job.ContextLength + 1).Fill(-1);

            var influence = Math.Sqrt(sum.Zip(Sum(job, options, without), (one, other) => (double)(one - other) * (one - other)).Sum());

            Assert.InRange(influence, bound == 0.3 ? 0 : limit * 0.999, limit + 1e-6); // the large bound does not bind for all
        }
    }

    [Theory]
    [InlineData(true, 0.02)]
    [InlineData(true, 0.3)]
    [InlineData(false, 0.3)]
    [InlineData(false, 0.02)]
    public void TheClippedSum_IsThatOfALoopOverSingleSamples(bool adapters, double bound)
    {
        var job = (adapters ? _job : _job with { Lora = new LoraSettings() }) with { MicroBatchSize = 6 };
        var all = Tokens(job.MicroBatchSize);
        all.AsSpan(2 * (job.ContextLength + 1), job.ContextLength + 1).Fill(-1); // a row that is no sample
        var expected = new double[Sum(job, null, all).Length];
        var clipped = 0;
        foreach (var sample in all.Chunk(job.ContextLength + 1).Where(sample => sample[0] >= 0))
        {
            // Of the mean loss, as the definition has it, by the trainer's ordinary way.
            var gradient = Sum(job with { MicroBatchSize = 1 }, null, sample).Select(value => (double)value / job.ContextLength).ToArray();
            var norm = Math.Sqrt(gradient.Sum(value => value * value));
            clipped += norm > bound ? 1 : 0;
            for (var i = 0; i < gradient.Length; i++)
                expected[i] += gradient[i] / Math.Max(1, norm / bound) * job.ContextLength;
        }

        var actual = Sum(job, _none with { MaxGradNorm = bound }, all);

        Assert.InRange(clipped, 1, 5);
        var scale = expected.Max(Math.Abs);
        Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First, pair.Second, 1e-5 * scale));
    }

    [Fact]
    public void ASampleThatIsNotFinite_AddsNothing()
    {
        using var sum = ones(3);
        using var bad = tensor(new float[] { 1, float.NaN, 2 });
        using var infinite = tensor(new float[] { 1, float.PositiveInfinity, 2 });
        using var good = tensor(new float[] { 0, 3, 4 });
        var privacy = new DpSgd(_none with { MaxGradNorm = 1 }, _job with { ContextLength = 1 });

        privacy.AddClipped(sum, bad);
        privacy.AddClipped(sum, infinite);
        privacy.AddClipped(sum, good);

        Assert.Equal([1f, 1.6f, 1.8f], sum.data<float>().ToArray());
    }

    [Fact]
    public void Noise_HasTheDeviationThatWasAskedFor()
    {
        var job = _job with { Optim = OptimizerKind.Sgd, LearningRate = 1, WarmupSteps = 0, LrSchedulerType = SchedulerKind.Constant, WeightDecay = 0, MaxGradNorm = 0 };
        using var without = Trainer(job, _private with { NoiseMultiplier = 0 });
        using var with = Trainer(job, _private);
        TrainerTests.Train(without, 1);
        TrainerTests.Train(with, 1);

        var noise = without.Weights.Zip(with.Weights).SelectMany(pair => (pair.First.Value - pair.Second.Value).cpu().contiguous().data<float>().ToArray()).ToList();

        var expected = _private.NoiseMultiplier * _private.MaxGradNorm / job.GlobalBatchSize;
        Assert.Equal(expected, Math.Sqrt(noise.Average(value => (double)value * value)), 0.05 * expected); // of 2816 values: 3.8 standard errors
        Assert.Equal(0, noise.Average(), 0.1 * expected);
    }

    [Fact]
    public void AStepEvaluatedAgain_DrawsTheSameNoise()
    {
        using var through = Trainer(_job, _private);
        TrainerTests.Train(through, 3);
        using var before = Trainer(_job, _private);
        TrainerTests.Train(before, 1);
        using var after = Trainer(_job, _private);

        after.Restore(before.Step, before.Weights, before.OptimizerState);
        TrainerTests.Train(after, 3);

        Assert.Equal(TrainerTests.Bytes(through.Weights), TrainerTests.Bytes(after.Weights));
        using var other = Trainer(_job, _private with { Context = "another run" });
        TrainerTests.Train(other, 3);
        Assert.NotEqual(TrainerTests.Bytes(through.Weights), TrainerTests.Bytes(other.Weights));
    }

    [Fact]
    public void Weights_DoNotDependOnTheNumberOfWorkers()
    {
        var alone = Outcome(new LocalExchange(_job.Lanes));

        for (var workers = 2; workers <= 3; workers++)
            Assert.All(new SimulatedCluster(workers, _job.Lanes).Run(Outcome), outcome => Assert.Equal(alone, outcome));

        static string Outcome(IGradientExchange exchange)
        {
            using var trainer = Trainer(_job, _private);
            using var data = TinyJobs.Data(_job);
            while (trainer.Step < _job.MaxSteps)
                trainer.RunStep(data, exchange, stopRequested: false);
            return TrainerTests.Bytes(trainer.Weights);
        }
    }

    [Fact]
    public void Bf16_IsClippedToo()
    {
        using var trainer = Trainer(_job with { Dtype = Precision.Bf16, MaxSteps = 2 }, _private);

        Assert.All(TrainerTests.Train(trainer, 2), step => Assert.True(double.IsFinite(step.Loss)));
    }

    [Theory]
    [InlineData(0, 1, 32, "clipping norm")]
    [InlineData(1, -1, 32, "noise multiplier")]
    [InlineData(double.PositiveInfinity, 1, 32, "finite")]
    [InlineData(1, 1, 31, "31 bytes")]
    public void Options_ThatProtectNothing_AreRefused(double bound, double noise, int secret, string complaint)
    {
        var options = new DpSgdOptions { MaxGradNorm = bound, NoiseMultiplier = noise, Secret = new byte[secret], Context = "x" };

        Assert.Contains(complaint, Assert.Throws<SoraException>(options.Check).Message);
    }

    [Fact]
    public void Options_AsText_DoNotTellTheSecret() => Assert.DoesNotContain("Secret", _private.ToString());

    private static Trainer Trainer(TrainingJob job, DpSgdOptions privacy) => new(job, TinyJobs.VocabSize, CPU, privacy: privacy);

    private static int[] Tokens(int rows)
    {
        var tokens = new int[rows * (_job.ContextLength + 1)];
        for (var i = 0; i < tokens.Length; i++)
            tokens[i] = (int)((ulong)RandomSeed.Of(3, i) % TinyJobs.VocabSize);
        return tokens;
    }

    // The gradient of one micro-batch, B random so that the adapters' A has one.
    private static float[] Sum(TrainingJob job, DpSgdOptions? options, int[] tokens)
    {
        using var scope = NewDisposeScope();
        using var model = ModelZoo.Create(job.Model, TinyJobs.VocabSize, job.ContextLength, lora: job.Lora);
        model.train();
        model.Initialize(3);
        var layout = new FlatLayout(model.Trainable);
        using var store = new WeightStore(model, layout, CPU, ScalarType.Float32);
        using (no_grad())
        using (var generator = new Generator(4))
            store.Master.normal_(0, 0.2, generator);
        using var lanes = new LaneGradients(job, model, layout, CPU, TimeProvider.System, options is null ? null : new DpSgd(options, job));
        var sum = lanes.Pool.Rent();
        lanes.AddMicroBatch(sum, 0, into => tokens.CopyTo(into, 0));
        return sum.Flat.data<float>().ToArray();
    }
}
