using System.Diagnostics;
using System.Globalization;
using Sora.Model.Checkpoints;
using Sora.Model.Tokenization;
using Sora.Model.Training;
using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Benchmarks;

/// <summary>
/// How long the training loop stands still for a checkpoint: written beside the training, and with the loop waiting, the two
/// taking turns in the same run. Each save is followed by steps, so that the first kind has its time and shows what it costs them.
/// </summary>
internal static class CheckpointBenchmark
{
    private const int Rounds = 8;
    private const int SaveSteps = 50;

    public static int Run(string[] arguments)
    {
        var folder = arguments is [var given] ? given : Path.GetTempPath();
        var output = Directory.CreateDirectory(Path.Combine(folder, $"sora-checkpoint-{Environment.ProcessId}")).FullName;
        try
        {
            Measure(output);
            return 0;
        }
        finally
        {
            Directory.Delete(output, recursive: true);
        }
    }

    private static void Measure(string output)
    {
        var job = new TrainingJob { Model = TrainBenchmark.Gpt, ContextLength = 256, MicroBatchSize = 8, Lanes = 1, MaxSteps = 1000, SaveTotalLimit = 2, Tokenizer = new() { Type = TokenizerKind.Byte } };
        using var data = new TrainBenchmark.HashedTokens();
        using var exchange = new LocalExchange(job.Lanes);
        using var trainer = new Trainer(job, TrainBenchmark.VocabSize, CPU);
        using var writer = new CheckpointWriter(TimeProvider.System);
        writer.Prepare(trainer, SaveGroup.Alone, Contents);
        TimedStep();
        TimedStep();

        var (beside, blocking, writing, plainSteps, busySteps) = (new List<double>(), new List<double>(), new List<double>(), new List<double>(), new List<double>());
        for (var round = 0; round < Rounds; round++)
        {
            blocking.Add(Timed(SaveBlocking));
            plainSteps.Add(TimedStep());

            beside.Add(Timed(() => writer.Begin(
                trainer, SaveGroup.Alone, Contents, outcome => writing.Add((outcome.Error is null ? outcome : throw outcome.Error).Elapsed.TotalSeconds))));
            busySteps.Add(TimedStep());
            writer.Wait(Timeout.InfiniteTimeSpan);
            plainSteps.Add(TimedStep());
        }
        var bytes = CheckpointCatalog.List(output)[^1].Manifest!.Files.Sum(file => file.Bytes);
        var (step, stall, wait) = (Median(plainSteps), Median(beside), Median(blocking));
        Console.WriteLine($"4 x 256, context 256, batch 8, {trainer.ParameterCount / 1e6:F2}M parameters, AdamW, fp32, one thread, {Environment.ProcessorCount} cores; a checkpoint has {bytes / 1e6:F1} MB; {Rounds} of each kind in turns, medians (worst)");
        Print("loop waits for the disk", wait, blocking.Max(), step);
        Print("written beside the loop", stall, beside.Max(), step);
        Console.WriteLine($"  ratio: {wait / stall:F1}x shorter; written in {Median(writing) * 1e3:F0} ms; a step takes {step * 1e3:F0} ms, with a save beside it {Median(busySteps) * 1e3:F0} ms");

        double TimedStep() => Timed(() => trainer.RunStep(data, exchange, stopRequested: false));

        void SaveBlocking()
        {
            var (weights, optimizer) = (trainer.Weights, trainer.OptimizerState);
            CheckpointFolder.Save(Contents(weights, optimizer), 2);
            foreach (var view in weights.Concat(optimizer))
                view.Value.Dispose();
        }

        CheckpointContents Contents(IReadOnlyList<NamedTensor> weights, IReadOnlyList<NamedTensor> optimizer) => new()
        {
            OutputDir = output,
            Step = trainer.Step,
            TokensSeen = 0,
            Job = job,
            CorpusSha256 = "",
            Tokenizer = new ByteTokenizer(),
            Canary = "",
            Numerics = "",
            Weights = weights,
            Optimizer = optimizer,
        };
    }

    private static void Print(string how, double seconds, double worst, double step) => Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
        $"  {how}: the loop stands still for {seconds * 1e3:F1} ms ({worst * 1e3:F1}), {seconds / (seconds + SaveSteps * step):P3} of the time at save_steps: {SaveSteps}"));

    private static double Timed(Action work)
    {
        var started = Stopwatch.GetTimestamp();
        work();
        return Stopwatch.GetElapsedTime(started).TotalSeconds;
    }

    private static double Median(List<double> values)
    {
        var ordered = values.Order().ToList();
        return (ordered[(ordered.Count - 1) / 2] + ordered[ordered.Count / 2]) / 2;
    }
}
