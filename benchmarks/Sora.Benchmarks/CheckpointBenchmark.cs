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
/// taking turns in the same run; by one writer, and by several that share it. Each save is followed by steps, so that the first kind
/// has its time and shows what it costs them.
/// </summary>
internal static class CheckpointBenchmark
{
    private const int Rounds = 8;
    private const int SaveSteps = 50;

    private static readonly int[] _teams = [1, 2, 4];

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
        var teams = _teams.Select(size => new Team(size, trainer, Contents)).ToList();
        TimedStep();
        TimedStep();

        var (blocking, plainSteps, busySteps) = (new List<double>(), new List<double>(), new List<double>());
        for (var round = 0; round < Rounds; round++)
        {
            blocking.Add(Timed(SaveBlocking));
            plainSteps.Add(TimedStep());
            foreach (var team in teams)
            {
                team.Begin();
                (team.Size == 1 ? busySteps : []).Add(TimedStep());
                team.Await();
                plainSteps.Add(TimedStep());
            }
        }
        var files = CheckpointCatalog.List(output)[^1].Manifest!.Files;
        var (step, wait) = (Median(plainSteps), Median(blocking));
        Console.WriteLine($"4 x 256, context 256, batch 8, {trainer.ParameterCount / 1e6:F2}M parameters, AdamW, fp32, one thread, {Environment.ProcessorCount} cores; a checkpoint has {files.Sum(file => file.Bytes) / 1e6:F1} MB in {files.Count} files; {Rounds} of each kind in turns, medians (worst)");
        Print("loop waits for the disk", wait, blocking.Max(), step);
        foreach (var team in teams)
        {
            Print($"written beside the loop, {(team.Size == 1 ? "1 writer" : $"{team.Size} writers, the largest copy")}", team.Stall, team.WorstStall, step);
            Console.WriteLine($"    {wait / team.Stall:F1}x shorter; written in {Median(team.Writing) * 1e3:F0} ms, all on this machine");
        }
        Console.WriteLine($"  a step takes {step * 1e3:F0} ms, with a save of one writer beside it {Median(busySteps) * 1e3:F0} ms");
        teams.ForEach(team => team.Dispose());

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

    /// <summary>
    /// Writers of one checkpoint, here all with the state of one trainer. Each is measured in turns, as the first to begin, so that no other
    /// one is writing yet, as if it had a machine of its own; the slowest one's is what training would stand still for.
    /// </summary>
    private sealed class Team : IDisposable
    {
        private readonly Trainer _trainer;
        private readonly DescribeCheckpoint _describe;
        private readonly CheckpointWriter[] _writers;
        private readonly List<double> _ended = [];
        private readonly List<double>[] _stalls;
        private int _round;

        public Team(int size, Trainer trainer, DescribeCheckpoint describe)
        {
            (_trainer, _describe) = (trainer, describe);
            _writers = [.. Enumerable.Range(0, size).Select(_ => new CheckpointWriter(TimeProvider.System))];
            _stalls = [.. _writers.Select(_ => new List<double>())];
            for (var index = 0; index < size; index++)
                _writers[index].Prepare(trainer, Group(index), describe);
        }

        public int Size => _writers.Length;

        /// <summary>The slowest member's.</summary>
        public double Stall => _stalls.Max(Median);

        public double WorstStall => _stalls.Max(one => one.Max());

        public List<double> Writing { get; } = [];

        public void Begin()
        {
            var first = _round++ % Size;
            _stalls[first].Add(Timed(() => Begin(first)));
            foreach (var index in Enumerable.Range(0, Size).Where(index => index != first))
                Begin(index);
        }

        public void Await()
        {
            foreach (var writer in _writers)
                writer.Wait(Timeout.InfiniteTimeSpan);
            Writing.Add(_ended.Max());
            _ended.Clear();
        }

        public void Dispose()
        {
            foreach (var writer in _writers)
                writer.Dispose();
        }

        private void Begin(int index) => _writers[index].Begin(_trainer, Group(index), _describe, Ended);

        private SaveGroup Group(int index) => Size == 1 ? SaveGroup.Alone : new SaveGroup(index, Size, $"team{Size}");

        private void Ended(SaveOutcome outcome)
        {
            lock (_ended)
                _ended.Add((outcome.Error is null ? outcome : throw outcome.Error).Elapsed.TotalSeconds);
        }
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
