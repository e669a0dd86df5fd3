using System.Globalization;
using System.Runtime.InteropServices;
using Sora.Model.Checkpoints;
using Sora.Model.Data;
using Sora.Model.Native;
using Sora.Model.Privacy;
using Sora.Model.Training.Optimizers;
using Sora.Model.Zoo;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Training;

/// <summary>
/// A model, its optimizer and the step they stand at. Evaluates and commits steps: the result is a pure function of the job,
/// the data and the step, whoever owns which lanes. One thread owns it, and only one trainer may compute in a process at a
/// time, because libtorch's random generator is global.
/// </summary>
public sealed class Trainer : IDisposable
{
    private readonly Device _device;
    private readonly TimeProvider _time;
    private readonly FlatLayout _layout;
    private readonly WeightStore _weights;
    private readonly Optimizer _optimizer;
    private readonly LaneGradients _lanes;
    private readonly HostStaging _staging;
    private readonly Func<OwnedTensors>? _baseWeights;
    private readonly DpSgd? _privacy;
    private StateBuffers? _shared;
    private (Tensor Weights, double Pull)? _anchor;
    private string? _canary;
    private long _begun; // the step at which the optimizer remembered nothing

    /// <summary>
    /// Makes the model with its initial weights: a function of the job's seed, the shapes and the weights it begins with, the same
    /// on every device. With adapters (<see cref="LoraSettings"/>) only they are trained, and only they are this trainer's weights:
    /// in its state, its gradients, its checkpoints.
    /// </summary>
    /// <param name="job">The job.</param>
    /// <param name="vocabSize">Entries of the tokenizer's vocabulary.</param>
    /// <param name="device">Where to compute; see <see cref="Devices.Resolve"/>.</param>
    /// <param name="time">Measures the parts of a step; default the system's.</param>
    /// <param name="baseWeights">Reads the weights of the network to begin with, now and at a <see cref="Reset"/>; default: random ones.</param>
    /// <param name="privacy">Clips what each sample contributes and adds noise; default: neither.</param>
    public Trainer(TrainingJob job, int vocabSize, Device device, TimeProvider? time = null, Func<OwnedTensors>? baseWeights = null, DpSgdOptions? privacy = null)
    {
        Job = job;
        _baseWeights = baseWeights;
        _device = device;
        _time = time ?? TimeProvider.System;
        TorchRuntime.Load();
        HostAllocator.KeepFreedMemory();
        set_num_threads(job.ThreadsPerWorker);
        Determinism.Enable(device, job.Tf32);

        var dtype = job.Dtype == Precision.Bf16 ? ScalarType.BFloat16 : ScalarType.Float32;
        Model = ModelZoo.Create(job.Model, vocabSize, job.ContextLength, device, dtype, job.Lora);
        Model.train();
        _layout = new FlatLayout(Model.Trainable);
        _weights = new WeightStore(Model, _layout, device, dtype);
        InitializeFrozen();
        Initialize();
        _optimizer = Optimizer.Create(job, _layout, device);
        _privacy = privacy is null ? null : new DpSgd(privacy, job);
        _lanes = new LaneGradients(job, Model, _layout, device, _time, _privacy);
        _staging = new HostStaging(_layout.Length, device);
    }

    /// <summary>The job.</summary>
    public TrainingJob Job { get; }

    /// <summary>The network, with the current weights; in training mode except during an evaluation.</summary>
    public LanguageModel Model { get; }

    /// <summary>Steps committed, which is also the step to evaluate next.</summary>
    public long Step { get; private set; }

    /// <summary>Trainable values.</summary>
    public long ParameterCount => Model.TrainableCount;

    /// <summary>Elements of the flat gradient that an exchange sums: the trainable values and what aligns them.</summary>
    public long GradientLength => _layout.Length;

    /// <summary>The fp32 weights that are trained, by their names in files: views, valid as long as the trainer. The caller disposes them.</summary>
    public IReadOnlyList<NamedTensor> Weights => [.. _layout.Named(_weights.Master)];

    /// <summary>What the optimizer remembers, as <c>state.weight</c>: views, valid as long as the trainer. The caller disposes them.</summary>
    public IReadOnlyList<NamedTensor> OptimizerState => [.. _optimizer.State.SelectMany(state => _layout.Named(state.Flat, state.Name + "."))];

    /// <summary>
    /// SHA-256 (hex) of the gradient of one fixed micro-batch at the initial weights. Two workers whose canaries agree
    /// compute the same bits; one whose canary differs would change the result.
    /// </summary>
    /// <exception cref="InvalidOperationException">The weights are no longer the initial ones.</exception>
    public string Canary()
    {
        if (_canary is not null)
            return _canary;
        if (Step != 0)
            throw new InvalidOperationException("The canary is computed at the initial weights, before the first step and before Restore.");
        var sum = _lanes.Pool.Rent();
        sum.Flat.zero_();
        _lanes.AddMicroBatch(sum, RandomSeed.Of(Job.Seed, -1), tokens =>
        {
            for (var i = 0; i < tokens.Length; i++)
                tokens[i] = (int)((ulong)RandomSeed.Of(i) % (ulong)Model.VocabSize);
        });
        _canary = _staging.Sha256(sum.Flat);
        _lanes.Pool.Return(sum);
        return _canary;
    }

    /// <summary>
    /// Where the state lies in host memory: the fp32 weights, then what the optimizer remembers, always in the same order. It
    /// is the state itself, or on a GPU a copy made now; valid until the next step, at most as long as the trainer.
    /// </summary>
    public IReadOnlyList<StateRegion> StateRegions()
    {
        if (_device.type == DeviceType.CPU)
            return StateBuffers.RegionsOf(State);
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        _shared ??= NewStateBuffers();
        foreach (var (host, own) in _shared.Parts.Zip(State))
            host.copy_(own);
        return _shared.Regions;
    }

    /// <summary>Memory in which another trainer's <see cref="StateRegions"/> can be gathered.</summary>
    public StateBuffers NewStateBuffers() => new(State.Select(_ => _layout.Length), _device);

    /// <summary>Memory for copies of this trainer's state, or part of it, that outlast the step.</summary>
    /// <param name="weights">Names of the weights to copy; null: all.</param>
    /// <param name="optimizerState">Names in the optimizer's state to copy; null: all.</param>
    public StateSnapshot NewSnapshot(IEnumerable<string>? weights = null, IEnumerable<string>? optimizerState = null) =>
        new(_layout, _optimizer.State.Select(state => state.Name), weights?.ToHashSet(StringComparer.Ordinal), optimizerState?.ToHashSet(StringComparer.Ordinal), _device);

    /// <summary>Copies the state of this step.</summary>
    /// <param name="snapshot">From <see cref="NewSnapshot"/> of this trainer; nobody reads it now.</param>
    public void CopyTo(StateSnapshot snapshot) => snapshot.Take(Step, State);

    /// <summary>Evaluates the next step on the lanes the exchange gives this worker, and commits it.</summary>
    /// <param name="data">Training data.</param>
    /// <param name="exchange">Sums the lanes of all workers.</param>
    /// <param name="stopRequested">Whether this worker was asked to halt after this step.</param>
    /// <exception cref="NotFiniteException">The loss or the gradient is not finite. The step is not applied.</exception>
    /// <exception cref="ExchangeBrokenException">A peer was lost. The step is not applied.</exception>
    public StepResult RunStep(IBatchSource data, IGradientExchange exchange, bool stopRequested)
    {
        var started = _time.GetTimestamp();
        using var scope = NewDisposeScope();
        _lanes.Begin(Step, exchange.Lanes);
        var computed = false;
        try
        {
            var lanes = new List<LaneTotals>(exchange.Lanes.Count);
            var nodes = LaneTree.Cover(exchange.Lanes, Job.Lanes);
            var sums = nodes.Select(node => _lanes.SumOf(node, Step, data, exchange, lanes)).ToList();
            var sum = sums.Count == 1 ? sums[0] : _lanes.Pool.Rent();
            computed = true;

            var (totals, exchangeTime) = _staging.AllReduce(exchange, Step, nodes, sums, sum, CollectionsMarshal.AsSpan(lanes), stopRequested, _time);
            var (loss, norm, learningRate) = Commit(sum.Flat, totals);
            return new StepResult(
                Step, loss, norm, learningRate, totals.TargetTokens, totals.StopRequested,
                (_time.GetElapsedTime(started) - exchangeTime - _lanes.DataTime).TotalSeconds, exchangeTime.TotalSeconds, _lanes.DataTime.TotalSeconds);
        }
        catch (ExchangeBrokenException) when (!computed)
        {
            // Later the sum may lie where the lanes' gradients were.
            _lanes.KeepFinished();
            throw;
        }
        finally
        {
            _lanes.Pool.ReturnAll();
        }
    }

    /// <summary>
    /// Mean loss on held-out data; null where there is none. Batch j is read by the owner of lane j mod lanes, and the lanes'
    /// sums are added in the canonical order, so the result does not depend on who owns which. Training is not disturbed.
    /// </summary>
    public EvaluationResult? Evaluate(IBatchSource data, IGradientExchange exchange)
    {
        var batches = Job.MaxEvalBatches > 0 ? Math.Min(Job.MaxEvalBatches, data.ValidationBatches) : data.ValidationBatches;
        if (batches == 0)
            return null;
        var totals = exchange.Gather(Step, CollectionsMarshal.AsSpan(EvaluateLanes(data, exchange, batches)));
        var loss = totals.LossSum / totals.TargetTokens;
        return new EvaluationResult(Step, loss, loss / Math.Log(2) / data.ValidationBytesPerToken, totals.TargetTokens);
    }

    /// <summary>Returns when all workers have called it at this step.</summary>
    public void AwaitOthers(IGradientExchange exchange) =>
        exchange.Gather(Step, [.. Enumerable.Range(exchange.Lanes.First, exchange.Lanes.Count).Select(lane => new LaneTotals(lane, 0, 0))]);

    /// <summary>Whether all workers call this with the same hash, at this step. All of them learn the same.</summary>
    public bool AllHold(string hash, IGradientExchange exchange)
    {
        // Each lane says its owner's hash in place of a number of tokens: as many times the own one comes out only if it is everybody's.
        var own = long.Parse(hash.AsSpan(0, 10), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
        var said = exchange.Gather(Step, [.. Enumerable.Range(exchange.Lanes.First, exchange.Lanes.Count).Select(lane => new LaneTotals(lane, 0, own))]);
        return said.TargetTokens == own * Job.Lanes;
    }

    /// <summary>Goes back to the initial weights and an optimizer that remembers nothing, as when it was made.</summary>
    public void Reset()
    {
        _lanes.ForgetFinished();
        using (no_grad())
        {
            foreach (var part in State)
                part.zero_();
        }
        Initialize();
        (Step, _begun) = (0, 0);
    }

    /// <summary>Copies the weights that are trained: one after the other in the order of <see cref="Weights"/>, without gaps.</summary>
    /// <param name="values">Receives <see cref="ParameterCount"/> values.</param>
    public unsafe void CopyWeightsTo(Span<float> values)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(values.Length, ParameterCount);
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        var from = (float*)HostMemory.AddressOf(_weights.Master.cpu());
        foreach (var (weight, offset) in _layout.Places)
        {
            var count = checked((int)weight.Value.numel());
            new ReadOnlySpan<float>(from + offset, count).CopyTo(values);
            values = values[count..];
        }
    }

    /// <summary>
    /// Begins at other weights with an optimizer that remembers nothing, as a site does in every round. What depends on the step (data,
    /// dropout, learning rate, noise) is that of <paramref name="step"/>; the optimizer counts its updates anew. Such a state is not
    /// to be saved and restored half way: a round that was cut short is begun again. With noise no step may be evaluated at two
    /// different weights (<see cref="DpSgdOptions.Context"/>): begin later ones at steps that were never used.
    /// </summary>
    /// <param name="step">The step to evaluate next.</param>
    /// <param name="weights">As <see cref="CopyWeightsTo"/> gives them.</param>
    public unsafe void Begin(long step, ReadOnlySpan<float> weights)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        ArgumentOutOfRangeException.ThrowIfNotEqual(weights.Length, ParameterCount);
        _lanes.ForgetFinished();
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        var host = zeros(_layout.Length, dtype: ScalarType.Float32);
        var into = (float*)HostMemory.AddressOf(host);
        foreach (var (weight, offset) in _layout.Places)
        {
            var count = checked((int)weight.Value.numel());
            weights[..count].CopyTo(new Span<float>(into + offset, count));
            weights = weights[count..];
        }
        foreach (var part in State)
            part.zero_();
        _weights.Master.copy_(host);
        _weights.Publish();
        (Step, _begun) = (step, step);
    }

    /// <summary>Takes up a state that was gathered from other trainers' memory.</summary>
    /// <param name="step">Steps committed.</param>
    /// <param name="gathered">From <see cref="NewStateBuffers"/> of this trainer, filled.</param>
    public void AdoptState(long step, StateBuffers gathered)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        _lanes.ForgetFinished();
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        foreach (var (own, part) in State.Zip(gathered.Parts))
            own.copy_(part);
        _weights.Publish();
        (Step, _begun) = (step, 0);
    }

    /// <summary>Takes up a state another trainer of the same job had.</summary>
    /// <param name="step">Steps committed.</param>
    /// <param name="weights">As <see cref="Weights"/> gave them.</param>
    /// <param name="optimizerState">As <see cref="OptimizerState"/> gave it.</param>
    /// <exception cref="SoraException">They do not fit this job. Nothing has changed then.</exception>
    public void Restore(long step, IReadOnlyList<NamedTensor> weights, IReadOnlyList<NamedTensor> optimizerState)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        _lanes.ForgetFinished();
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        var (ownWeights, ownState) = (Weights, OptimizerState);
        NamedTensors.Check(weights, ownWeights, "weight");
        NamedTensors.Check(optimizerState, ownState, "optimizer tensor");
        NamedTensors.Copy(weights, ownWeights, "weight");
        NamedTensors.Copy(optimizerState, ownState, "optimizer tensor");
        _weights.Publish();
        (Step, _begun) = (step, 0);
    }

    /// <summary>
    /// From now on every step is also pulled towards the present weights: <paramref name="pull"/> times the distance is added to its
    /// gradient, after clipping (the proximal term of FedProx, Li et al. 2020, equation 2). 0: no more.
    /// </summary>
    public void Anchor(double pull)
    {
        using var _ = no_grad();
        _anchor?.Weights.Dispose();
        _anchor = pull > 0 ? (_weights.Master.clone(), pull) : null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _anchor?.Weights.Dispose();
        _shared?.Dispose();
        _staging.Dispose();
        _lanes.Dispose();
        _optimizer.Dispose();
        _weights.Dispose();
        Model.Dispose();
    }

    // Flat, of one length, in the order every worker has.
    private IReadOnlyList<Tensor> State => [_weights.Master, .. _optimizer.State.Select(state => state.Flat)];

    // What no step changes is set once.
    private void InitializeFrozen()
    {
        if (Model.AdapterWeights.Count == 0)
            return;
        if (_baseWeights is null)
        {
            Model.Initialize(Job.Seed);
            return;
        }
        using var start = _baseWeights();
        Model.LoadWeights(start.Tensors);
    }

    private void Initialize()
    {
        if (_baseWeights is null || Model.AdapterWeights.Count > 0)
        {
            _weights.Initialize(Job.Seed);
            return;
        }
        using var start = _baseWeights();
        _weights.Initialize(start.Tensors);
    }

    private List<LaneTotals> EvaluateLanes(IBatchSource data, IGradientExchange exchange, long batches)
    {
        var owned = exchange.Lanes;
        using var _ = no_grad();
        using var batch = new MicroBatch(Job.MicroBatchSize, Job.ContextLength, _device);
        var lanes = new List<LaneTotals>(owned.Count);
        Model.eval();
        try
        {
            for (var lane = owned.First; lane < owned.End; lane++)
            {
                var (lossSum, targets) = (0.0, 0L);
                for (long index = lane; index < batches; index += Job.Lanes)
                {
                    exchange.ThrowIfBroken();
                    using var scope = NewDisposeScope();
                    data.ReadValidation(index, batch.Tokens);
                    var (input, target) = batch.ToDevice();
                    lossSum += StagedBackward.Loss(Model.forward(input), target).item<float>();
                    targets += batch.TargetTokens;
                }
                lanes.Add(new LaneTotals(lane, lossSum, targets));
            }
        }
        finally
        {
            Model.train();
        }
        return lanes;
    }

    // Identical arithmetic on every worker: mean over target tokens, clip, update.
    private (double Loss, double GradNorm, double LearningRate) Commit(Tensor gradient, StepTotals totals)
    {
        if (totals.TargetTokens == 0 && _privacy is null) // drawn at random, a batch may be empty
            throw new SoraException($"Step {Step} has no target token: every target of its batches is padding. Check the training data.", ExitCode.InvalidInput);
        using var _ = no_grad();
        var loss = totals.TargetTokens == 0 ? 0 : totals.LossSum / totals.TargetTokens;
        _privacy?.AddNoise(gradient, _layout, Step);
        // `gradient` is the sum over tokens; the mean and the clipping are one pass over it.
        var count = _privacy?.ExpectedTokens ?? totals.TargetTokens;
        var norm = gradient.norm().item<float>() / (double)count;
        if (!double.IsFinite(loss) || !double.IsFinite(norm))
        {
            throw new NotFiniteException(
                $"The run diverged at step {Step}: loss {loss}, gradient norm {norm}. The step was not applied. " +
                $"Resume from the last checkpoint with a lower learning_rate (now {Job.LearningRate:g4}), more warmup_steps or a smaller max_grad_norm" +
                (Job.Dtype == Precision.Bf16 ? ", or with dtype: fp32." : "."),
                _lanes.NotFinite());
        }
        var clip = Job.MaxGradNorm > 0 && norm > Job.MaxGradNorm ? Job.MaxGradNorm / norm : 1;
        gradient.mul_(clip / count);
        if (_anchor is { } anchor)
        {
            using var distance = _weights.Master - anchor.Weights;
            gradient.add_(distance, alpha: anchor.Pull);
        }
        var learningRate = Schedule.LearningRate(Job, Step);
        _optimizer.Step(_weights.Master, gradient, learningRate, Step - _begun + 1);
        _weights.Publish();
        Step++;
        return (loss, norm, learningRate);
    }
}
