using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Training.Optimizers;

/// <summary>
/// An update rule over flat weights. What it remembers are flat tensors laid out like the weights; the number of the step
/// comes from the trainer, so there is nothing else to save.
/// </summary>
internal abstract class Optimizer : IDisposable
{
    private readonly List<(string Name, Tensor Flat)> _state = [];

    protected Optimizer(FlatLayout layout, Device device)
    {
        Layout = layout;
        Device = device;
    }

    /// <summary>The state's flat tensors by their names in files.</summary>
    public IReadOnlyList<(string Name, Tensor Flat)> State => _state;

    protected FlatLayout Layout { get; }

    protected Device Device { get; }

    public static Optimizer Create(TrainingJob job, FlatLayout layout, Device device) => job.Optim switch
    {
        OptimizerKind.Sgd => new Sgd(job, layout, device),
        OptimizerKind.Momentum => new Momentum(job, layout, device),
        OptimizerKind.Adam => new Adam(job, layout, device),
        OptimizerKind.AdamW => new AdamW(job, layout, device),
        OptimizerKind.Adadelta => new Adadelta(job, layout, device),
        _ => throw new SoraException($"Unknown optimizer {job.Optim}.", ExitCode.Usage),
    };

    /// <summary>Updates the weights in place. May overwrite the gradient.</summary>
    /// <param name="weights">Flat fp32 weights.</param>
    /// <param name="gradient">Flat fp32 gradient.</param>
    /// <param name="learningRate">Of this step.</param>
    /// <param name="update">Number of this update, from 1.</param>
    public void Step(Tensor weights, Tensor gradient, double learningRate, long update)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        Update(weights, gradient, learningRate, update);
    }

    public void Dispose()
    {
        foreach (var (_, flat) in _state)
            flat.Dispose();
    }

    protected abstract void Update(Tensor weights, Tensor gradient, double learningRate, long update);

    /// <summary>A flat state tensor of zeros.</summary>
    protected Tensor Remember(string name)
    {
        var flat = zeros(Layout.Length, dtype: ScalarType.Float32, device: Device).DetachFromDisposeScope();
        _state.Add((name, flat));
        return flat;
    }

    /// <summary>The part of a flat tensor that weight decay applies to.</summary>
    protected Tensor Decayed(Tensor flat) => flat.narrow(0, 0, Layout.DecayedLength);

    /// <summary>The part of a flat tensor that weight decay leaves alone.</summary>
    protected Tensor NotDecayed(Tensor flat) => flat.narrow(0, Layout.DecayedLength, Layout.Length - Layout.DecayedLength);

    /// <summary>L2 regularization: adds the decay to the gradient.</summary>
    protected void AddDecay(Tensor gradient, Tensor weights, double decay)
    {
        if (decay != 0)
            Decayed(gradient).add_(Decayed(weights), alpha: decay);
    }
}
