using Sora.Model.Tests.Native;
using Sora.Model.Training;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Training;

[Collection(LibtorchCollection.Name)]
public class WeightVectorTests
{
    private static readonly TrainingJob _job = TinyJobs.Decoder;

    [Fact]
    public void A_trainer_that_begins_with_anothers_weights_computes_what_that_one_would()
    {
        using var first = TinyJobs.Trainer(_job);
        TrainerTests.Train(first, 3);
        var vector = WeightVector.Read(first);
        Assert.Equal(first.ParameterCount, vector.Length);

        using var second = TinyJobs.Trainer(_job);
        TrainerTests.Train(second, 5);
        WeightVector.Begin(second, 3, vector);

        Assert.Equal(3, second.Step);
        Assert.Equal(TrainerTests.Bytes(first.Weights), TrainerTests.Bytes(second.Weights));
        Assert.All(second.OptimizerState, state => Assert.Equal(0, state.Value.abs().sum().item<float>()));
        // The network itself has them too, not only the master copy.
        using var third = TinyJobs.Trainer(_job);
        WeightVector.Begin(third, 3, vector);
        Assert.Equal(TrainerTests.Train(third, 4)[^1].Loss, TrainerTests.Train(second, 4)[^1].Loss);
    }

    [Fact]
    public void A_vector_of_another_length_is_refused()
    {
        using var trainer = TinyJobs.Trainer(_job);
        Assert.Throws<ArgumentException>(() => WeightVector.Begin(trainer, 0, new float[3]));
    }

    [Fact]
    public void An_anchor_adds_its_pull_to_the_gradient()
    {
        // Plain gradient descent: w' = w - rate * (g + pull * (w - anchor)).
        var job = _job with { Optim = OptimizerKind.Sgd, LearningRate = 0.1, LrSchedulerType = SchedulerKind.Constant, WarmupSteps = 0, WeightDecay = 0, MaxGradNorm = 0 };
        using var free = TinyJobs.Trainer(job);
        using var pulled = TinyJobs.Trainer(job);
        var anchor = WeightVector.Read(free);
        pulled.Anchor(0.5);

        TrainerTests.Train(free, 1);
        TrainerTests.Train(pulled, 1);
        var once = WeightVector.Read(free);
        Assert.Equal(once, WeightVector.Read(pulled)); // at the anchor there is no pull

        TrainerTests.Train(free, 2);
        TrainerTests.Train(pulled, 2);
        var (freely, held) = (WeightVector.Read(free), WeightVector.Read(pulled));
        for (var i = 0; i < anchor.Length; i++)
            Assert.Equal(freely[i] - 0.1f * 0.5f * (once[i] - anchor[i]), held[i], 1e-6f);
        Assert.NotEqual(freely, held);
    }
}
