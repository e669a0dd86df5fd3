using Sora.Model.Zoo.Adapters;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Sora.Model.Zoo;

/// <summary>x W^T + b, and what adapters add to that.</summary>
/// <param name="weight">[outputs, inputs]</param>
/// <param name="bias">[outputs]</param>
/// <param name="layers">The linear layers it holds, one below the other.</param>
internal sealed class Projection(Parameter weight, Parameter? bias, params IReadOnlyList<(string Name, int Outputs)> layers)
{
    private readonly List<LoraAdapter> _adapters = [];

    public Parameter Weight => weight;

    public IReadOnlyList<(string Name, int Outputs)> Layers => layers;

    /// <summary>[..., inputs] to [..., outputs]</summary>
    public Tensor Forward(Tensor input, bool training = false)
    {
        var output = functional.linear(input, weight, bias);
        return _adapters.Count == 0 ? output : output + Adaptation(input, training);
    }

    /// <summary>Adds an adapter; no two add to the same output.</summary>
    public void Add(LoraAdapter adapter)
    {
        _adapters.Add(adapter);
        _adapters.Sort((one, other) => one.FirstRow.CompareTo(other.FirstRow));
    }

    /// <summary>Adds the adapters to the weight, and lets them go.</summary>
    public void Merge()
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        foreach (var adapter in _adapters)
            weight.narrow(0, adapter.FirstRow, adapter.Rows).add_(adapter.Product());
        _adapters.Clear();
    }

    // One sum over all outputs, zeros where there is no adapter: its gradient is views, while adding to slices would copy.
    private Tensor Adaptation(Tensor input, bool training)
    {
        var (parts, row) = (new List<Tensor>(), 0L);
        foreach (var adapter in _adapters)
        {
            FillTo(adapter.FirstRow);
            parts.Add(adapter.Forward(input, training));
            row += adapter.Rows;
        }
        FillTo(weight.shape[0]);
        return parts.Count == 1 ? parts[0] : cat(parts, -1);

        void FillTo(long end)
        {
            if (end > row)
                parts.Add(zeros([.. input.shape[..^1], end - row], dtype: input.dtype, device: input.device));
            row = end;
        }
    }
}
