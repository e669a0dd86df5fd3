using System.Buffers.Binary;
using Sora.Model.Data;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;

namespace Sora.Model.Privacy;

/// <summary>
/// Batches as the accountants of DP-SGD assume them: in every step each sample of the corpus takes part with the same probability,
/// independently of all others and of all other steps. So their number varies; rows that are left over have no target and cost no
/// computation. There are no epochs. Which samples take part is a function of the secret and the step: the same after a crash, and
/// not to be guessed.
/// <para>
/// If more samples are drawn than the job has rows the last ones are left out, which the accounting does not know of: a job is
/// refused unless that is less likely than <see cref="OverflowProbability"/> in a step. Add that, times the steps, to delta.
/// </para>
/// </summary>
public sealed class PoissonBatches : IBatchSource
{
    /// <summary>Bound of the probability that a step draws more samples than there are rows.</summary>
    public const double OverflowProbability = 1e-9;

    private const int SamplesAtOnce = 1024;
    private const int SamplesPerBlock = SecretStream.BlockSize / sizeof(ulong);

    private readonly PlannedBatches _planned;
    private readonly TrainingJob _job;
    private readonly DpSgdOptions _options;
    private readonly long[] _firstSample; // [shards + 1], running sum
    private readonly int _sampleTokens;
    private (long Step, List<long> Samples) _drawn = (-1, []);

    /// <summary>Draws from the training part of a corpus.</summary>
    /// <param name="planned">Reads it; owned from now on. Its plan is not followed.</param>
    /// <param name="manifest">What the corpus holds.</param>
    /// <param name="job">The job; its global batch size is the most a step can take.</param>
    /// <param name="options">Secret, context and the expected batch size, which must be given.</param>
    /// <exception cref="SoraException">The job has too few rows for the expected batch size, or the corpus too few samples.</exception>
    public PoissonBatches(PlannedBatches planned, CorpusManifest manifest, TrainingJob job, DpSgdOptions options)
    {
        options.Check();
        options.CheckSecret();
        (_planned, _job, _options, _sampleTokens) = (planned, job, options, job.ContextLength + 1);
        _firstSample = new long[manifest.Train.Shards.Count + 1];
        for (var shard = 0; shard < manifest.Train.Shards.Count; shard++)
            _firstSample[shard + 1] = _firstSample[shard] + DataPlan.SamplesIn(manifest.Train.Shards[shard].Tokens, job.ContextLength);
        var expected = options.ExpectedBatchSize ?? throw new SoraException("Random batches need an expected batch size.", ExitCode.Usage);
        SamplingRate = expected / _firstSample[^1];
        if (SamplingRate > 1)
            throw new SoraException($"The expected batch size is {expected}, but the corpus has only {_firstSample[^1]} samples. Lower it, or add text.", ExitCode.InvalidInput);
        if (_firstSample[^1] > job.GlobalBatchSize && LogOverflow(expected, job.GlobalBatchSize) > Math.Log(OverflowProbability))
            throw new SoraException($"A step that expects {expected} samples at random may draw more than the job's {job.GlobalBatchSize} rows. Raise gradient_accumulation_steps: rows that stay empty cost nothing.", ExitCode.Usage);
    }

    /// <summary>Probability that a sample takes part in a step: q of the accountants.</summary>
    public double SamplingRate { get; }

    /// <inheritdoc/>
    public long ValidationBatches => _planned.ValidationBatches;

    /// <inheritdoc/>
    public double ValidationBytesPerToken => _planned.ValidationBytesPerToken;

    /// <inheritdoc/>
    public void Read(long step, int lane, int micro, Span<int> tokens)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(tokens.Length, _job.MicroBatchSize * _sampleTokens);
        var samples = Draw(step);
        for (var row = 0; row < _job.MicroBatchSize; row++)
        {
            // Dealt to the lanes in turn, so that all have work.
            var place = ((((long)micro * _job.MicroBatchSize) + row) * _job.Lanes) + lane;
            var into = tokens.Slice(row * _sampleTokens, _sampleTokens);
            if (place < samples.Count)
                _planned.ReadSample(AddressOf(samples[(int)place]), into);
            else
                into.Fill(-1);
        }
    }

    /// <inheritdoc/>
    public void ReadValidation(long index, Span<int> tokens) => _planned.ReadValidation(index, tokens);

    /// <summary>Does nothing: what comes next is not announced.</summary>
    public void Announce(long step, LaneRange lanes)
    {
    }

    /// <inheritdoc/>
    public void Dispose() => _planned.Dispose();

    /// <summary>The samples that take part in a step.</summary>
    internal List<long> Draw(long step)
    {
        if (_drawn.Step == step)
            return _drawn.Samples;
        var drawn = new List<long>();
        var bytes = new byte[SamplesAtOnce / SamplesPerBlock * SecretStream.BlockSize];
        using var stream = new SecretStream(_options.Secret.Span, "dp-sgd batch", _options.Context, step);
        for (var first = 0L; first < _firstSample[^1]; first += SamplesAtOnce)
        {
            stream.Fill(bytes, first / SamplesPerBlock);
            var count = (int)Math.Min(SamplesAtOnce, _firstSample[^1] - first);
            for (var i = 0; i < count; i++)
                if ((BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(i * sizeof(ulong))) >> 11) * (1.0 / (1UL << 53)) < SamplingRate)
                    drawn.Add(first + i);
        }
        _drawn = (step, drawn);
        return drawn;
    }

    private SampleAddress AddressOf(long sample)
    {
        var shard = Array.BinarySearch(_firstSample, sample + 1);
        shard = (shard < 0 ? ~shard : FirstAt(shard)) - 1;
        return new SampleAddress(shard, (sample - _firstSample[shard]) * _job.ContextLength);

        // Shards without a sample begin where the next one does.
        int FirstAt(int index)
        {
            while (index > 0 && _firstSample[index - 1] == _firstSample[index])
                index--;
            return index;
        }
    }

    // Chernoff's bound of P(X >= rows + 1) for a sum of independent draws that is expected to be `mean`.
    private static double LogOverflow(double mean, long rows) => mean >= rows + 1 ? 0 : rows + 1 - mean - ((rows + 1) * Math.Log((rows + 1) / mean));
}
