using Sora.Model.Data;
using Sora.Model.Privacy;
using Sora.Model.Tests.Data;
using Sora.Model.Tests.Native;
using Sora.Model.Tests.Training;
using Sora.Model.Training;
using Sora.Protocol.Jobs;
using TorchSharp;

namespace Sora.Model.Tests.Privacy;

[Collection(LibtorchCollection.Name)]
public sealed class PoissonBatchesTests : IDisposable
{
    private static readonly TrainingJob _job = TinyJobs.Decoder with { MicroBatchSize = 4, MicroBatchesPerLane = 4, MaxSteps = 3 }; // 64 rows

    private static readonly DpSgdOptions _options = new()
    {
        MaxGradNorm = 0.1,
        NoiseMultiplier = 0.5,
        Secret = Enumerable.Range(1, 32).Select(i => (byte)i).ToArray(),
        Context = "test",
        ExpectedBatchSize = 20,
    };

    private readonly TestFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Draw_EachSampleInEachStepWithTheSameProbability()
    {
        const int Steps = 3000;
        using var batches = await CreateAsync(_options);
        var samples = 0L;
        var (sizes, counts) = (new List<int>(), new Dictionary<long, int>());
        var together = 0;
        for (var step = 0; step < Steps; step++)
        {
            var drawn = batches.Draw(step);
            sizes.Add(drawn.Count);
            foreach (var sample in drawn)
                counts[sample] = counts.GetValueOrDefault(sample) + 1;
            samples = Math.Max(samples, drawn.DefaultIfEmpty(0).Max() + 1);
            together += drawn.Contains(0) && drawn.Contains(1) ? 1 : 0;
        }

        var q = batches.SamplingRate;
        Assert.Equal(20 / q, samples, 1e-6);
        Assert.Equal(20, sizes.Average(), 5 * Math.Sqrt(20.0 / Steps));
        // A binomial number varies by n q (1 - q); the variance of 3000 of them is known to 2.6 %.
        Assert.Equal(20 * (1 - q), sizes.Average(size => (size - 20.0) * (size - 20)), 0.13 * 20);
        Assert.Equal(samples, counts.Count);
        Assert.All(counts.Values, count => Assert.Equal(q * Steps, count, 5 * Math.Sqrt(q * Steps)));
        Assert.Equal(q * q * Steps, together, 5 * Math.Sqrt(q * q * Steps));
    }

    [Fact]
    public async Task Read_GivesTheDrawnSamples_AndRowsWithoutATarget()
    {
        using var batches = await CreateAsync(_options);
        using var again = await CreateAsync(_options, "again");
        var (rows, others) = (new List<int[]>(), new List<int[]>());
        for (var step = 0; step < 3; step++)
        {
            ReadAll(batches, step, rows);
            ReadAll(again, step, others);
            var real = rows.Skip(step * 64).Count(row => row[0] != -1);
            Assert.Equal(batches.Draw(step).Count, real);
        }
        Assert.Equal(others, rows);
        Assert.All(rows.Where(row => row[0] == -1), row => Assert.All(row, token => Assert.Equal(-1, token)));
        Assert.NotEqual(batches.Draw(0), batches.Draw(1));
    }

    [Fact]
    public async Task Create_TooFewRowsOrSamples_IsRefused()
    {
        Assert.Contains("gradient_accumulation_steps", (await Assert.ThrowsAsync<SoraException>(() => CreateAsync(_options with { ExpectedBatchSize = 50 }))).Message);
        Assert.Contains("only", (await Assert.ThrowsAsync<SoraException>(() => CreateAsync(_options with { ExpectedBatchSize = 1e9 }, "b"))).Message);
        Assert.Contains("expected batch size", (await Assert.ThrowsAsync<SoraException>(() => CreateAsync(_options with { ExpectedBatchSize = null }, "c"))).Message);
    }

    [Fact]
    public async Task RunStep_TrainsOnThem()
    {
        using var batches = await CreateAsync(_options);
        using var trainer = new Trainer(_job, 257, torch.CPU, privacy: _options);

        var result = trainer.RunStep(batches, new LocalExchange(_job.Lanes), stopRequested: false);

        Assert.Equal(batches.Draw(0).Count * _job.ContextLength, result.Tokens);
        Assert.InRange(result.Loss, 5, 6); // ln 257 = 5.5
    }

    private static void ReadAll(PoissonBatches batches, long step, List<int[]> rows)
    {
        var tokens = new int[_job.MicroBatchSize * (_job.ContextLength + 1)];
        for (var lane = 0; lane < _job.Lanes; lane++)
        {
            for (var micro = 0; micro < _job.MicroBatchesPerLane; micro++)
            {
                batches.Read(step, lane, micro, tokens);
                rows.AddRange(tokens.Chunk(_job.ContextLength + 1));
            }
        }
    }

    private async Task<PoissonBatches> CreateAsync(DpSgdOptions options, string name = "corpus")
    {
        var input = _folder.File("in.txt", string.Join(' ', Enumerable.Range(0, 1500)));
        var corpus = await TestCorpus.PrepareAsync(TestCorpus.Data(_folder, input), _folder[name]);
        return new PoissonBatches(BatchSources.Local(corpus, _job), corpus.Manifest, _job, options);
    }
}
