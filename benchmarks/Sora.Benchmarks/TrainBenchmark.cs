using System.Diagnostics;
using Sora.Model.Data;
using Sora.Model.Training;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Benchmarks;

/// <summary>
/// Tokens per second of one worker with one thread, without a cluster, and what that is of the machine's matrix rate. Steps and
/// matrix products take turns, so that both see the same machine; on a shared one the best round is nearest the truth.
/// </summary>
internal static class TrainBenchmark
{
    internal const int VocabSize = 4096;
    private const int Rounds = 12;

    private static readonly ModelSettings _llama = new() { HiddenSize = 256, NumHiddenLayers = 4, NumAttentionHeads = 4 };

    // The 5.3M shape of GPT-2: what the peers in benchmarks/peers measure too.
    internal static readonly ModelSettings Gpt = _llama with
    {
        PositionEmbedding = PositionKind.Learned,
        Norm = NormKind.LayerNorm,
        Activation = ActivationKind.Gelu,
        Bias = true,
        TieWordEmbeddings = false,
    };

    public static int Run(string[] shapes)
    {
        foreach (var shape in shapes.Length > 0 ? shapes : ["gpt", "llama"])
        {
            if (shape is not ("gpt" or "llama"))
            {
                Console.Error.WriteLine($"Unknown shape {shape}: gpt or llama.");
                return 2;
            }
            Measure(shape, shape == "gpt" ? Gpt : _llama);
        }
        return 0;
    }

    private static void Measure(string name, ModelSettings model)
    {
        var job = new TrainingJob { Model = model, ContextLength = 256, MicroBatchSize = 8, Lanes = 1, MaxSteps = 1000 };
        using var data = new HashedTokens();
        using var exchange = new LocalExchange(job.Lanes);
        using var trainer = new Trainer(job, VocabSize, CPU);
        trainer.RunStep(data, exchange, stopRequested: false);
        trainer.RunStep(data, exchange, stopRequested: false);

        var (tokensPerSecond, tokensPerCpuSecond, gemm) = (new List<double>(), new List<double>(), new List<(double Wall, double Processor)>());
        for (var round = 0; round < Rounds; round++)
        {
            gemm.Add(GemmBenchmark.Burst());
            var (started, processor) = (Stopwatch.GetTimestamp(), GemmBenchmark.ProcessorSeconds());
            var step = trainer.RunStep(data, exchange, stopRequested: false);
            tokensPerSecond.Add(step.Tokens / Stopwatch.GetElapsedTime(started).TotalSeconds);
            tokensPerCpuSecond.Add(step.Tokens / (GemmBenchmark.ProcessorSeconds() - processor));
        }
        Console.WriteLine($"{name}: 4 x 256, context 256, batch 8, vocabulary {VocabSize}, {trainer.ParameterCount / 1e6:F2}M parameters, fp32, one thread, {Rounds} rounds, best");
        Report("by the clock", trainer, tokensPerSecond.Max(), gemm.Max(burst => burst.Wall));
        Report("by processor time", trainer, tokensPerCpuSecond.Max(), gemm.Max(burst => burst.Processor));
    }

    private static void Report(string how, Trainer trainer, double tokensPerSecond, double gigaflops)
    {
        var (byParameters, byOperations) = (6.0 * trainer.ParameterCount, trainer.Model.FlopsPerToken(trainer.Job.ContextLength));
        Console.WriteLine(
            $"  {how + ":",-19}{tokensPerSecond,6:F0} tokens/s, matrix products {gigaflops:F1} GFLOP/s; 6N x tokens/s is {byParameters * tokensPerSecond / 1e9 / gigaflops:P0} of that, " +
            $"what is multiplied (no tables, with attention) {byOperations * tokensPerSecond / 1e9 / gigaflops:P0}");
    }

    internal sealed class HashedTokens : IBatchSource
    {
        public long ValidationBatches => 0;

        public double ValidationBytesPerToken => 1;

        public void Announce(long step, LaneRange lanes)
        {
        }

        public void Read(long step, int lane, int micro, Span<int> tokens)
        {
            for (var i = 0; i < tokens.Length; i++)
                tokens[i] = (int)((uint)HashCode.Combine(step, i) % VocabSize);
        }

        public void ReadValidation(long index, Span<int> tokens) => throw new NotSupportedException("Nothing is held out here.");

        public void Dispose()
        {
        }
    }
}
