using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;

namespace Sora.Model.Data;

/// <summary>The samples of a <see cref="DataPlan"/>, read from a folder or fetched in pieces. Made by <see cref="BatchSources"/>.</summary>
public sealed class PlannedBatches : IBatchSource
{
    // Deep enough to hide a round trip to the coordinator, shallow enough that lanes which move away waste little.
    private const int AnnouncedSteps = 8;
    private const int AnnouncedValidationBatches = 8;

    private readonly ITokenReader _reader;
    private readonly int _sampleTokens;
    private readonly int _microBatchSize;
    private readonly int _contextLength;
    private readonly long[] _validationSamples; // [shards + 1], running sum

    internal PlannedBatches(ITokenReader reader, CorpusManifest manifest, TrainingJob job)
    {
        _reader = reader;
        _contextLength = job.ContextLength;
        _sampleTokens = job.ContextLength + 1;
        _microBatchSize = job.MicroBatchSize;
        Plan = DataPlan.For(manifest, job);

        var shards = manifest.Validation.Shards;
        _validationSamples = new long[shards.Count + 1];
        for (var shard = 0; shard < shards.Count; shard++)
            _validationSamples[shard + 1] = _validationSamples[shard] + DataPlan.SamplesIn(shards[shard].Tokens, job.ContextLength);
        ValidationBatches = (_validationSamples[^1] + _microBatchSize - 1) / _microBatchSize;
        ValidationBytesPerToken = manifest.Validation.Tokens == 0 ? 0 : (double)manifest.Validation.TextBytes / manifest.Validation.Tokens;
    }

    /// <summary>The plan behind the batches.</summary>
    public DataPlan Plan { get; }

    /// <summary>Whole held-out samples: what is shorter than a context at the end of a shard is not evaluated.</summary>
    public long ValidationSamples => _validationSamples[^1];

    /// <inheritdoc />
    /// <remarks>0 when the held-out part is shorter than one sample.</remarks>
    public long ValidationBatches { get; }

    /// <inheritdoc />
    public double ValidationBytesPerToken { get; }

    /// <summary>Seconds spent so far waiting for tokens to arrive; 0 when the corpus is local.</summary>
    public double WaitSeconds => _reader.WaitSeconds;

    /// <inheritdoc />
    public void Read(long step, int lane, int micro, Span<int> tokens)
    {
        CheckLength(tokens);
        for (var row = 0; row < _microBatchSize; row++)
            _reader.Read(Range(Plan.Sample(step, lane, micro, row)), tokens.Slice(row * _sampleTokens, _sampleTokens));
    }

    /// <summary>Reads one sample of the training part.</summary>
    internal void ReadSample(SampleAddress address, Span<int> tokens) => _reader.Read(Range(address), tokens);

    /// <inheritdoc />
    public void Announce(long step, LaneRange lanes) => _reader.Announce(UpcomingRanges(step, lanes));

    /// <inheritdoc />
    public void ReadValidation(long index, Span<int> tokens)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, ValidationBatches);
        CheckLength(tokens);
        if (index % (AnnouncedValidationBatches / 2) == 0) _reader.Announce(ValidationRanges(index, AnnouncedValidationBatches));

        var filled = 0;
        foreach (var range in ValidationRanges(index, 1))
            _reader.Read(range, tokens.Slice(filled++ * _sampleTokens, _sampleTokens));
        tokens[(filled * _sampleTokens)..].Fill(-1);
    }

    /// <inheritdoc />
    public void Dispose() => _reader.Dispose();

    private IEnumerable<TokenRange> UpcomingRanges(long step, LaneRange lanes)
    {
        for (var ahead = 0; ahead < AnnouncedSteps; ahead++)
            for (var micro = 0; micro < Plan.MicroBatchesPerLane; micro++)
                for (var lane = lanes.First; lane < lanes.End; lane++)
                    for (var row = 0; row < _microBatchSize; row++)
                        yield return Range(Plan.Sample(step + ahead, lane, micro, row));
    }

    private IEnumerable<TokenRange> ValidationRanges(long batch, int batches)
    {
        var first = batch * _microBatchSize;
        var last = Math.Min(first + ((long)batches * _microBatchSize), ValidationSamples);
        var shard = 0;
        for (var sample = first; sample < last; sample++)
        {
            while (_validationSamples[shard + 1] <= sample) shard++;
            yield return new(Validation: true, shard, (sample - _validationSamples[shard]) * _contextLength, _sampleTokens);
        }
    }

    private TokenRange Range(SampleAddress address) => new(Validation: false, address.Shard, address.Token, _sampleTokens);

    private void CheckLength(Span<int> tokens)
    {
        if (tokens.Length != _microBatchSize * _sampleTokens)
            throw new ArgumentException($"A micro-batch takes {_microBatchSize} x {_sampleTokens} tokens, but the span has {tokens.Length}.", nameof(tokens));
    }
}
