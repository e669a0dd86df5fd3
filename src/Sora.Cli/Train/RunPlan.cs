using System.Globalization;
using Sora.Cli.Display;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Cli.Train;

/// <summary>What a run would take, from the job and the size of its network alone. Memory is an estimate, the rest is exact.</summary>
internal sealed record RunPlan(
    string Name, string Device, string Dtype, int Workers, int MaxWorkers, int Lanes, long GlobalBatchSize, long TokensPerStep, long MaxSteps, long TotalTokens,
    double? Epochs, int VocabSize, long Parameters, double FlopsPerStep, long MemoryBytesPerWorker, long BytesSentPerStepPerWorker, long CheckpointBytes,
    string OutputDir) : RunEvent
{
    private const int Fp32 = sizeof(float);

    /// <summary>Works out the plan.</summary>
    /// <param name="job">The job.</param>
    /// <param name="range">Workers that share it; the plan is for as many as it begins with.</param>
    /// <param name="vocabSize">Entries of the vocabulary.</param>
    /// <param name="parameters">Trainable values of the network.</param>
    /// <param name="flopsPerToken">Of forward and backward.</param>
    /// <param name="corpusTokens">Tokens to train on; null while the corpus is not prepared.</param>
    /// <param name="frozen">Values of the network that are not trained.</param>
    public static RunPlan Of(TrainingJob job, WorkerRange range, int vocabSize, long parameters, double flopsPerToken, long? corpusTokens, long frozen = 0)
    {
        var workers = range.Start;
        var total = job.TokensPerStep * job.MaxSteps;
        var optimizer = parameters * Fp32 * OptimizerCopies(job.Optim);
        return new RunPlan(
            job.Name, LocalDevice.Of(job), JobKey.Spell(job.Dtype), workers, range.Most, job.Lanes, job.GlobalBatchSize, job.TokensPerStep, job.MaxSteps, total,
            corpusTokens is { } tokens and > 0 ? (double)total / tokens : null,
            vocabSize, parameters, flopsPerToken * job.TokensPerStep,
            Memory(job, workers, vocabSize, parameters, optimizer) + frozen * (job.Dtype == Precision.Bf16 ? 2 : Fp32),
            // Reduce-scatter and all-gather each send all but the worker's own share once.
            2 * (workers - 1) * parameters * Fp32 / workers,
            parameters * Fp32 + optimizer,
            job.OutputDir);
    }

    /// <summary>The plan as people read it.</summary>
    public string ToText()
    {
        string Line(string what, string value) => $"{what,-26}{value}";
        string Number(double value) => value.ToString("N0", CultureInfo.InvariantCulture);
        return string.Join('\n',
            Line("job", Name),
            Line("network", $"{Format.Count(Parameters)} parameters, vocabulary of {Number(VocabSize)}, {Dtype} on {Device}"),
            Line("workers", $"{Workers}{(MaxWorkers > Workers ? $" at least, {MaxWorkers} at most" : "")}, sharing {Format.Of(Lanes, "lane")}"),
            Line("steps", $"{Number(MaxSteps)}, each of {Format.Of(GlobalBatchSize, "sample")}, {Number(TokensPerStep)} tokens, {Format.Count(FlopsPerStep)}FLOP"),
            Line("tokens", $"{Number(TotalTokens)}{(Epochs is { } epochs ? $", {(epochs < 100 ? epochs.ToString("G3", CultureInfo.InvariantCulture) : Number(epochs))} epochs" : " (the corpus is not prepared yet)")}"),
            Line("memory", $"about {Format.Bytes(MemoryBytesPerWorker)} a worker, libtorch aside"),
            Line("sent a step", $"{Format.Bytes(BytesSentPerStepPerWorker)} by each worker"),
            Line("checkpoint", Format.Bytes(CheckpointBytes)),
            Line("output", OutputDir));
    }

    private static int OptimizerCopies(OptimizerKind kind) => kind switch
    {
        OptimizerKind.Sgd => 0,
        OptimizerKind.Momentum => 1,
        _ => 2,
    };

    private static long Memory(TrainingJob job, int workers, int vocabSize, long parameters, long optimizer)
    {
        var weights = parameters * Fp32 + (job.Dtype == Precision.Bf16 ? parameters * 2 : 0);
        // The lane being computed, and a finished subtree for each level of the worker's part of the lane tree.
        var lanes = LaneRange.OfWorker(workers - 1, workers, job.Lanes).Count;
        var gradients = parameters * Fp32 * (1 + 1 + (long)Math.Log2(lanes));
        return weights + optimizer + gradients + Activations(job, vocabSize);
    }

    // What backward needs of one micro-batch: some 17 values of hidden size a token and layer with flash attention (Korthikanti
    // et al. 2022, section 4.1, without the attention matrix), and the logits with their gradient.
    private static long Activations(TrainingJob job, int vocabSize)
    {
        var tokens = (long)job.MicroBatchSize * job.ContextLength;
        var width = job.Dtype == Precision.Bf16 ? 2L : Fp32;
        var perLayer = job.GradientCheckpointing ? 1L : 17L;
        return tokens * ((job.Model.NumHiddenLayers * perLayer + 17) * job.Model.HiddenSize * width + 3L * vocabSize * Fp32);
    }
}
