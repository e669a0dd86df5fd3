using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Sora.Model.Zoo;

/// <summary>Makes a model's weights and keeps them in order. They are allocated where they will be used; nothing is moved later.</summary>
internal sealed class WeightFactory(Device device, ScalarType dtype)
{
    private readonly List<Weight> _weights = [];
    private readonly List<Projection> _projections = [];

    public IReadOnlyList<Weight> Weights => _weights;

    /// <summary>The linear layers made so far.</summary>
    public IReadOnlyList<Projection> Projections => _projections;

    public Device Device => device;

    public ScalarType Dtype => dtype;

    /// <summary>A weight with one name.</summary>
    public Parameter Add(string name, InitialValue start, params ReadOnlySpan<long> shape) =>
        Add(new Weight(new Parameter(zeros(shape, dtype: dtype, device: device)), start, name));

    /// <summary>A linear layer's weight [outputs, inputs] that holds several layers of the same input, one below the other.</summary>
    public Projection AddLinear(InitialValue start, bool bias, int inputs, params IReadOnlyList<(string Name, int Outputs)> layers)
    {
        var outputs = layers.Sum(layer => layer.Outputs);
        var weight = new Parameter(zeros([outputs, inputs], dtype: dtype, device: device));
        Add(new Weight(weight, start, [.. layers.Select(layer => new WeightPart(layer.Name + ".weight", layer.Outputs))]));
        var shift = bias ? new Parameter(zeros([outputs], dtype: dtype, device: device)) : null;
        if (shift is not null)
            Add(new Weight(shift, InitialValue.Constant(0), [.. layers.Select(layer => new WeightPart(layer.Name + ".bias", layer.Outputs))]));
        _projections.Add(new Projection(weight, shift, layers));
        return _projections[^1];
    }

    /// <summary>A table that is looked up.</summary>
    public Embedding AddEmbedding(string name, InitialValue start, int entries, int width)
    {
        // libtorch's module draws a table of its own on the CPU, whatever the device: it makes the smallest, and is given ours.
        var table = nn.Embedding(1, 1);
        table.weight = Add(name, start, entries, width);
        return table;
    }

    /// <summary>Takes in a weight made elsewhere.</summary>
    public Parameter Add(Weight weight)
    {
        _weights.Add(weight);
        return weight.Value;
    }
}
