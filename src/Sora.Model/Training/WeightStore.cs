using Sora.Model.Zoo;
using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Training;

/// <summary>
/// The weights that are trained in one flat fp32 tensor. In fp32 the model's weights are views of it. In bf16 it is the master copy: the model
/// computes with a bf16 copy that is refreshed after each update, so that updates smaller than bf16 can see still add up.
/// </summary>
internal sealed class WeightStore : IDisposable
{
    private readonly LanguageModel _model;
    private readonly Tensor _compute;

    public WeightStore(LanguageModel model, FlatLayout layout, Device device, ScalarType dtype)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        Master = zeros(layout.Length, dtype: ScalarType.Float32, device: device).DetachFromDisposeScope();
        _compute = dtype == ScalarType.Float32 ? Master : zeros(layout.Length, dtype: dtype, device: device).DetachFromDisposeScope();
        foreach (var place in layout.Places)
            place.Weight.Value.set_(FlatLayout.View(_compute, place));
        Layout = layout;
        _model = model;
    }

    /// <summary>The flat fp32 weights.</summary>
    public Tensor Master { get; }

    public FlatLayout Layout { get; }

    /// <summary>Sets the initial weights: each draws from the seed by its place among the network's own and the adapters'.</summary>
    public void Initialize(long seed)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        var weights = _model.Weights.Concat(_model.AdapterWeights).ToList();
        foreach (var place in Layout.Places)
            FlatLayout.View(Master, place).copy_(place.Weight.Draw(seed, weights.FindIndex(weight => ReferenceEquals(weight, place.Weight))));
        Publish();
    }

    /// <summary>Sets the weights to others.</summary>
    /// <exception cref="SoraException">One is missing, unknown or of another shape.</exception>
    public void Initialize(IReadOnlyList<NamedTensor> start)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        NamedTensors.Copy(start, [.. Layout.Named(Master)], "weight");
        Publish();
    }

    /// <summary>Lets the model see what was written to <see cref="Master"/>.</summary>
    public void Publish()
    {
        if (!ReferenceEquals(_compute, Master))
            _compute.copy_(Master);
    }

    public void Dispose()
    {
        _compute.Dispose();
        Master.Dispose();
    }
}
