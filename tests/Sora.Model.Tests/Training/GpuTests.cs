using Sora.Model.Native;
using Sora.Model.Tests.Native;
using Sora.Model.Training;
using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Training;

/// <summary>What must hold on a CUDA GPU. Without one the reason is printed and nothing is claimed.</summary>
[Collection(LibtorchCollection.Name)]
public class GpuTests
{
    private static readonly TrainingJob _job = TinyJobs.Decoder with { Device = "cuda", MaxSteps = 20, Tf32 = false, Model = TinyJobs.Decoder.Model with { Dropout = 0 } };

    [Fact]
    public void Fp32_LossFollowsTheCpus()
    {
        var gpu = Losses(_job, Gpu());
        var cpu = Losses(_job, CPU);

        for (var step = 0; step < cpu.Count; step++)
            Assert.Equal(cpu[step], gpu[step], tolerance: 0.02);
    }

    [Fact]
    public void Bf16_LossFollowsTheCpusRoughly()
    {
        var gpu = Losses(_job with { Dtype = Precision.Bf16 }, Gpu());
        var cpu = Losses(_job, CPU);

        for (var step = 0; step < cpu.Count; step++)
            Assert.Equal(cpu[step], gpu[step], tolerance: 0.15);
    }

    [Theory]
    [InlineData(Precision.Fp32)]
    [InlineData(Precision.Bf16)]
    public void TheSameRunTwice_GivesTheSameBits(Precision precision)
    {
        var job = _job with { Dtype = precision, Model = _job.Model with { Dropout = 0.1 } };

        Assert.Equal(Losses(job, Gpu()), Losses(job, Gpu()));
    }

    [Fact]
    public unsafe void AStateTakenFromAnothersMemory_IsTheSameState()
    {
        var device = Gpu();
        using var data = TinyJobs.Data(_job);
        using var exchange = new LocalExchange(_job.Lanes);
        using var holder = new Trainer(_job, TinyJobs.VocabSize, device);
        using var joiner = new Trainer(_job, TinyJobs.VocabSize, device);
        for (var step = 0; step < 3; step++)
            holder.RunStep(data, exchange, stopRequested: false);

        using var gathered = joiner.NewStateBuffers();
        foreach (var (from, to) in holder.StateRegions().Zip(gathered.Regions))
            Buffer.MemoryCopy((void*)from.Address, (void*)to.Address, to.Bytes, from.Bytes);
        joiner.AdoptState(holder.Step, gathered);

        Assert.Equal(StateHash.Of(holder.StateRegions()), StateHash.Of(joiner.StateRegions()));
        Assert.Equal(holder.RunStep(data, exchange, stopRequested: false).Loss, joiner.RunStep(data, exchange, stopRequested: false).Loss);
    }

    private static Device Gpu()
    {
        TorchRuntime.Load();
        Assert.SkipUnless(cuda.is_available(), "There is no CUDA GPU here, or this build carries the CPU's libtorch (build with -p:Torch=cuda or set SORA_LIBTORCH).");
        return Devices.Resolve("cuda");
    }

    private static List<double> Losses(TrainingJob job, Device device)
    {
        using var trainer = new Trainer(job, TinyJobs.VocabSize, device);
        using var data = TinyJobs.Data(job);
        using var exchange = new LocalExchange(job.Lanes);
        return [.. Enumerable.Range(0, job.MaxSteps).Select(_ => trainer.RunStep(data, exchange, stopRequested: false).Loss)];
    }
}
