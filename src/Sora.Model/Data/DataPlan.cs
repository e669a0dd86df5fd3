using Sora.Protocol.Jobs;

namespace Sora.Model.Data;

/// <summary>Where a sample begins: its tokens are the <c>context_length + 1</c> from <paramref name="Token"/> on.</summary>
/// <param name="Shard">Index of the shard within the split.</param>
/// <param name="Token">First token, counted from the start of the shard.</param>
public readonly record struct SampleAddress(int Shard, long Token);

/// <summary>A run of consecutive samples inside one shard; in an epoch it belongs to one lane.</summary>
/// <param name="Index">Number of the block in the corpus.</param>
/// <param name="Shard">Index of the shard within the split.</param>
/// <param name="FirstToken">First token of the first sample.</param>
/// <param name="TokenCount">Tokens the block's samples touch, the last target included.</param>
public readonly record struct DataBlock(long Index, int Shard, long FirstToken, long TokenCount);

/// <summary>
/// Which sample goes where: a pure function <c>(seed, step, lane, micro, row) -> sample</c> in O(1) memory, the same whoever
/// owns the lanes. There is no cursor: to resume is to start from a step number.
/// <para>
/// Samples start at multiples of the context length inside a shard; a shard of n tokens has floor((n - 1) / context_length).
/// A block is <see cref="SamplesPerBlock"/> consecutive samples of one shard. Each epoch a keyed permutation deals
/// <see cref="BlocksPerLane"/> blocks to each lane, and further ones order the samples: a lane's blocks are taken
/// <see cref="BlocksPerWindow"/> at a time and the samples of such a window are permuted, so that a lane reads each block's bytes
/// during one window only, however large its share. A lane's samples of one epoch are followed directly by those of the next, also
/// in the middle of a step, so nothing is lost to round epochs to steps.
/// </para>
/// <para>
/// What an epoch leaves out: the samples behind the last full block of each shard (<see cref="UnusedSamples"/>, the same in every
/// epoch, fewer than one block a shard) and the blocks which do not divide by the lanes (<see cref="BlocksLeftOutPerEpoch"/>, fewer
/// than the lanes, others in each epoch).
/// </para>
/// </summary>
public sealed class DataPlan
{
    private const int MaxSamplesPerBlock = 256;
    private const int WantedBlocksPerLane = 64;

    private enum Purpose : ulong { Blocks = 1, Samples = 2 }

    private readonly ulong _seed;
    private readonly int _contextLength;
    private readonly int _microBatchSize;
    private readonly long _rowsPerLaneStep;
    private readonly long[] _firstBlock; // [shards + 1], running sum of full blocks

    /// <summary>Plans a split.</summary>
    /// <param name="shardTokens">Tokens in each shard.</param>
    /// <param name="contextLength">Tokens a sample's input holds.</param>
    /// <param name="lanes">Lanes of the job.</param>
    /// <param name="microBatchesPerLane">Micro-batches of a lane in one step.</param>
    /// <param name="microBatchSize">Samples in a micro-batch.</param>
    /// <param name="seed">Seed of the job.</param>
    /// <exception cref="SoraException">There is not even one sample for each lane.</exception>
    public DataPlan(IReadOnlyList<long> shardTokens, int contextLength, int lanes, int microBatchesPerLane, int microBatchSize, long seed)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(contextLength);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(lanes);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(microBatchesPerLane);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(microBatchSize);

        var samples = shardTokens.Select(tokens => SamplesIn(tokens, contextLength)).ToArray();
        Samples = samples.Sum();
        if (Samples < lanes)
            throw new SoraException(
                $"The corpus is too small: its {shardTokens.Sum():N0} training tokens make {Samples:N0} samples of {contextLength:N0} tokens, " +
                $"but {lanes:N0} lanes need at least one each. Add text, or lower context_length or lanes.", ExitCode.InvalidInput);

        _seed = (ulong)seed;
        _contextLength = contextLength;
        _microBatchSize = microBatchSize;
        _rowsPerLaneStep = (long)microBatchesPerLane * microBatchSize;
        Lanes = lanes;
        MicroBatchesPerLane = microBatchesPerLane;
        SamplesPerBlock = ChooseSamplesPerBlock(samples, lanes);

        _firstBlock = new long[samples.Length + 1];
        for (var shard = 0; shard < samples.Length; shard++)
            _firstBlock[shard + 1] = _firstBlock[shard] + (samples[shard] / SamplesPerBlock);
        Blocks = _firstBlock[^1];
        BlocksPerLane = Blocks / lanes;
    }

    /// <summary>The plan of a job over the training split of a corpus.</summary>
    public static DataPlan For(CorpusManifest manifest, TrainingJob job) => new(
        [.. manifest.Train.Shards.Select(shard => shard.Tokens)], job.ContextLength, job.Lanes, job.MicroBatchesPerLane, job.MicroBatchSize, job.Seed);

    /// <summary>Lanes of the job.</summary>
    public int Lanes { get; }

    /// <summary>Micro-batches of a lane in one step.</summary>
    public int MicroBatchesPerLane { get; }

    /// <summary>Samples in the split, used or not.</summary>
    public long Samples { get; }

    /// <summary>The largest number up to 256 for which every lane gets at least 64 full blocks; 1 when no number does.</summary>
    public int SamplesPerBlock { get; }

    /// <summary>Full blocks in the split.</summary>
    public long Blocks { get; }

    /// <summary>Blocks a lane gets in an epoch: floor(<see cref="Blocks"/> / <see cref="Lanes"/>).</summary>
    public long BlocksPerLane { get; }

    /// <summary>Blocks whose samples are shuffled together.</summary>
    public int BlocksPerWindow => WantedBlocksPerLane;

    /// <summary>Samples a lane reads in an epoch.</summary>
    public long SamplesPerLanePerEpoch => BlocksPerLane * SamplesPerBlock;

    /// <summary>Samples of the split that no epoch visits: those behind the last full block of each shard.</summary>
    public long UnusedSamples => Samples - (Blocks * SamplesPerBlock);

    /// <summary>Blocks an epoch does not visit because they do not divide by the lanes; each epoch leaves out others.</summary>
    public long BlocksLeftOutPerEpoch => Blocks - (BlocksPerLane * Lanes);

    /// <summary>Steps in an epoch, as a fraction: epochs need not end with a step.</summary>
    public double StepsPerEpoch => (double)SamplesPerLanePerEpoch / _rowsPerLaneStep;

    /// <summary>Samples in a shard: starts at multiples of the context length with one token more behind the last input token.</summary>
    public static long SamplesIn(long tokens, int contextLength) => Math.Max(0, (tokens - 1) / contextLength);

    /// <summary>The epoch of a lane's sample; within a step it grows with <paramref name="micro"/> and <paramref name="row"/>.</summary>
    public long Epoch(long step, int micro, int row) => Position(step, micro, row) / SamplesPerLanePerEpoch;

    /// <summary>The sample in a row of a micro-batch.</summary>
    public SampleAddress Sample(long step, int lane, int micro, int row)
    {
        CheckLane(lane);
        var (epoch, position) = Math.DivRem(Position(step, micro, row), SamplesPerLanePerEpoch);

        var windowSamples = (long)BlocksPerWindow * SamplesPerBlock;
        var (window, inWindow) = Math.DivRem(position, windowSamples);
        var windowStart = window * windowSamples;
        var order = new KeyedPermutation(
            Math.Min(windowSamples, SamplesPerLanePerEpoch - windowStart),
            Key(Purpose.Samples, epoch, (ulong)lane, (ulong)window));

        var (slot, sample) = Math.DivRem(windowStart + order[inWindow], SamplesPerBlock);
        var block = DealtBlock(BlockOrder(epoch), lane, slot);
        return new(block.Shard, block.FirstToken + (sample * _contextLength));
    }

    /// <summary>The blocks a lane owns in an epoch; no other lane reads them in that epoch.</summary>
    public IEnumerable<DataBlock> LaneBlocks(long epoch, int lane)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(epoch);
        CheckLane(lane);
        var order = BlockOrder(epoch);
        for (long slot = 0; slot < BlocksPerLane; slot++)
            yield return DealtBlock(order, lane, slot);
    }

    private static int ChooseSamplesPerBlock(long[] samples, int lanes)
    {
        for (var size = MaxSamplesPerBlock; size > 1; size--)
            if (samples.Sum(n => n / size) >= (long)WantedBlocksPerLane * lanes)
                return size;
        return 1;
    }

    private long Position(long step, int micro, int row)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        ArgumentOutOfRangeException.ThrowIfNegative(micro);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(micro, MicroBatchesPerLane);
        ArgumentOutOfRangeException.ThrowIfNegative(row);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(row, _microBatchSize);
        return checked((step * _rowsPerLaneStep) + ((long)micro * _microBatchSize) + row);
    }

    private void CheckLane(int lane)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(lane);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(lane, Lanes);
    }

    private KeyedPermutation BlockOrder(long epoch) => new(Blocks, Key(Purpose.Blocks, epoch, 0, 0));

    private DataBlock DealtBlock(KeyedPermutation order, int lane, long slot)
    {
        var index = order[(lane * BlocksPerLane) + slot];
        var shard = ShardOf(index);
        var first = (index - _firstBlock[shard]) * SamplesPerBlock * _contextLength;
        return new(index, shard, first, ((long)SamplesPerBlock * _contextLength) + 1);
    }

    private int ShardOf(long block)
    {
        // The last shard whose first block is not behind this one; shards without a full block share their start with the next.
        int low = 0, high = _firstBlock.Length - 1;
        while (high - low > 1)
        {
            var middle = (low + high) / 2;
            if (_firstBlock[middle] <= block) low = middle;
            else high = middle;
        }
        return low;
    }

    private ulong Key(Purpose purpose, long epoch, ulong lane, ulong window)
    {
        var key = KeyedPermutation.Mix(_seed, (ulong)purpose);
        key = KeyedPermutation.Mix(key, (ulong)epoch);
        key = KeyedPermutation.Mix(key, lane);
        return KeyedPermutation.Mix(key, window);
    }
}
