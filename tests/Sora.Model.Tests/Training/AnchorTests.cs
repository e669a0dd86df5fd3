using Sora.Model.Tests.Native;
using Sora.Model.Training;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Training;

[Collection(LibtorchCollection.Name)]
public class AnchorTests
{
    [Fact]
    public void An_anchor_adds_its_pull_to_the_gradient()
    {
        // Plain gradient descent: w' = w - rate * (g + pull * (w - anchor)).
        var job = TinyJobs.Decoder with { Optim = OptimizerKind.Sgd, LearningRate = 0.1, LrSchedulerType = SchedulerKind.Constant, WarmupSteps = 0, WeightDecay = 0, MaxGradNorm = 0 };
        using var free = TinyJobs.Trainer(job);
        using var pulled = TinyJobs.Trainer(job);
        var anchor = Read(free);
        pulled.Anchor(0.5);

        TrainerTests.Train(free, 1);
        TrainerTests.Train(pulled, 1);
        var once = Read(free);
        Assert.Equal(once, Read(pulled)); // at the anchor there is no pull

        TrainerTests.Train(free, 2);
        TrainerTests.Train(pulled, 2);
        var (freely, held) = (Read(free), Read(pulled));
        for (var i = 0; i < anchor.Length; i++)
            Assert.Equal(freely[i] - 0.1f * 0.5f * (once[i] - anchor[i]), held[i], 1e-6f);
        Assert.NotEqual(freely, held);
    }

    private static float[] Read(Trainer trainer)
    {
        var weights = new float[trainer.ParameterCount];
        trainer.CopyWeightsTo(weights);
        return weights;
    }
}
