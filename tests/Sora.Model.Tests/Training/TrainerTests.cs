using Sora.Model.Tests.Native;
using Sora.Model.Training;

namespace Sora.Model.Tests.Training;

[Collection(LibtorchCollection.Name)]
public class TrainerTests
{
    [Fact]
    public void RunStep_LossFalls()
    {
        var job = TinyJobs.Decoder with { MaxSteps = 60, Model = TinyJobs.Decoder.Model with { Dropout = 0 } };
        using var data = TinyJobs.Data(job);
        using var exchange = new LocalExchange(job.Lanes);
        using var trainer = TinyJobs.Trainer(job);

        var first = trainer.RunStep(data, exchange, stopRequested: false);
        var last = first;
        while (trainer.Step < job.MaxSteps)
            last = trainer.RunStep(data, exchange, stopRequested: false);

        Assert.InRange(first.Loss, 3.2, 3.6); // ln 31 = 3.43, a little less because the tied head favours repeats
        Assert.InRange(last.Loss, 1.5, 2.6);  // every second token is free: half of ln 31 = 1.72
    }
}
