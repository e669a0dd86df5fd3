using Sora.Model.Data;
using Sora.Model.Privacy;
using Sora.Model.Zoo;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Training;

/// <summary>
/// Computes lanes' gradients and sums them up the lane tree. In bf16 each micro-batch's gradient is bf16, as the weights it
/// belongs to; everything it is added to (micro-batches, lanes, workers) is fp32. Under differential privacy each sample is a
/// micro-batch of its own, the simple way to know its gradient.
/// </summary>
internal sealed class LaneGradients : IDisposable
{
    private readonly TrainingJob _job;
    private readonly LanguageModel _model;
    private readonly MicroBatch _batch;
    private readonly GradientBuffer? _apart; // where a gradient is computed that is not simply added to the others
    private readonly DpSgd? _privacy;
    private readonly TimeProvider _time;
    private readonly List<(int Lane, double LossSum, Tensor Norm)> _evaluated = [];
    private readonly FinishedSubtrees _finished;

    public LaneGradients(TrainingJob job, LanguageModel model, FlatLayout layout, Device device, TimeProvider time, DpSgd? privacy = null)
    {
        _job = job;
        _privacy = privacy;
        _model = model;
        _time = time;
        _batch = new MicroBatch(job.MicroBatchSize, job.ContextLength, device);
        Pool = new GradientBufferPool(layout, device);
        _finished = new FinishedSubtrees(Pool);
        if (job.Dtype == Precision.Bf16 || privacy is not null)
        {
            _apart = new GradientBuffer(layout, job.Dtype == Precision.Bf16 ? ScalarType.BFloat16 : ScalarType.Float32, device);
            _apart.Attach();
        }
    }

    /// <summary>Buffers; whoever gets one from this class returns it here, or all of them after the step.</summary>
    public GradientBufferPool Pool { get; }

    /// <summary>Time spent waiting for data in this step.</summary>
    public TimeSpan DataTime { get; private set; }

    /// <summary>A step begins, for the first time or, after it broke off, once more.</summary>
    public void Begin(long step, LaneRange lanes)
    {
        _evaluated.Clear();
        _finished.Begin(step, lanes);
        DataTime = TimeSpan.Zero;
    }

    /// <summary>The step breaks off: what is finished of it need not be computed again.</summary>
    public void KeepFinished() => _finished.Keep();

    /// <summary>The weights change otherwise than by a step.</summary>
    public void ForgetFinished() => _finished.Forget();

    /// <summary>Lanes computed in this step whose loss or gradient are not finite. The sum of all lanes cannot tell which they are.</summary>
    public IReadOnlyList<int> NotFinite() =>
        [.. _evaluated.Where(lane => !double.IsFinite(lane.LossSum) || !float.IsFinite(lane.Norm.item<float>())).Select(lane => lane.Lane)];

    /// <summary>The gradient of all lanes of a node of the lane tree; needs one buffer a level. Adds the lanes' totals in lane order.</summary>
    /// <exception cref="ExchangeBrokenException">The exchange broke meanwhile.</exception>
    public GradientBuffer SumOf(LaneRange node, long step, IBatchSource data, IGradientExchange exchange, List<LaneTotals> totals)
    {
        var before = totals.Count;
        var finished = _finished.Take(node);
        if (finished is not null)
            totals.AddRange(finished.Totals);
        var sum = finished?.Sum ?? (node.Count == 1 ? OfLane(node.First, step, data, exchange, totals) : OfChildren(node, step, data, exchange, totals));
        _finished.Add(finished ?? new FinishedSubtree(node, sum, totals[before..]));
        return sum;
    }

    private GradientBuffer OfChildren(LaneRange node, long step, IBatchSource data, IGradientExchange exchange, List<LaneTotals> totals)
    {
        var (left, right) = LaneTree.Children(node);
        var sum = SumOf(left, step, data, exchange, totals);
        var other = SumOf(right, step, data, exchange, totals);
        sum.Flat.add_(other.Flat);
        Pool.Return(other);
        return sum;
    }

    /// <summary>Adds the gradient of the tokens in <paramref name="fill"/>'s hands to a buffer.</summary>
    /// <returns>The summed loss and how many targets it is over.</returns>
    public (double LossSum, long TargetTokens) AddMicroBatch(GradientBuffer sum, long seed, Action<int[]> fill)
    {
        using var scope = NewDisposeScope();
        var started = _time.GetTimestamp();
        fill(_batch.Tokens);
        DataTime += _time.GetElapsedTime(started);
        var (input, target) = _batch.ToDevice();
        if (_privacy is not null)
            return (AddSamples(sum, input, target, seed), _batch.TargetTokens);
        if (_apart is null)
            sum.Attach();
        else
            _apart.Flat.zero_();
        var loss = StagedBackward.Run(_model, input, target, seed, _job.GradientCheckpointing);
        if (_apart is not null)
            sum.Flat.add_(_apart.Flat);
        return (loss, _batch.TargetTokens);
    }

    public void Dispose()
    {
        _finished.Forget();
        Pool.Dispose();
        _apart?.Dispose();
        _batch.Dispose();
    }

    // One sample after the other; rows without a target are no samples.
    private double AddSamples(GradientBuffer sum, Tensor input, Tensor target, long seed)
    {
        var loss = 0.0;
        for (var row = 0; row < input.shape[0]; row++)
        {
            if (_batch.TargetsIn(row) == 0)
                continue;
            using var scope = NewDisposeScope();
            _apart!.Flat.zero_();
            loss += StagedBackward.Run(_model, input.narrow(0, row, 1), target.narrow(0, row, 1), RandomSeed.Of(seed, row), _job.GradientCheckpointing);
            _privacy!.AddClipped(sum.Flat, _apart.Flat);
        }
        return loss;
    }

    private GradientBuffer OfLane(int lane, long step, IBatchSource data, IGradientExchange exchange, List<LaneTotals> totals)
    {
        var sum = Pool.Rent();
        sum.Flat.zero_();
        var (lossSum, targets) = (0.0, 0L);
        for (var micro = 0; micro < _job.MicroBatchesPerLane; micro++)
        {
            exchange.ThrowIfBroken();
            var (loss, count) = AddMicroBatch(sum, RandomSeed.Of(_job.Seed, step, lane, micro), tokens => data.Read(step, lane, micro, tokens));
            lossSum += loss;
            targets += count;
        }
        totals.Add(new LaneTotals(lane, lossSum, targets));
        // Nobody waits for the device here: it is read only if something is wrong, and by then the sum lies elsewhere.
        _evaluated.Add((lane, lossSum, sum.Flat.norm()));
        return sum;
    }
}
