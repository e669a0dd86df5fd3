using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Sora.Model.Zoo.Adapters;

/// <summary>
/// A low-rank adapter (Hu et al. 2021) of some rows of a linear layer: it adds <c>scaling * B A dropout(x)</c> to what they give.
/// </summary>
/// <param name="firstRow">The first of the layer's outputs it adds to.</param>
/// <param name="a">[rank, inputs]</param>
/// <param name="b">[rows, rank]; zero at first, so that training begins at the network as it is.</param>
/// <param name="scaling">How many times it counts.</param>
/// <param name="dropout">Probability of dropping a value it reads.</param>
internal sealed class LoraAdapter(long firstRow, Parameter a, Parameter b, double scaling, double dropout)
{
    public long FirstRow => firstRow;

    public long Rows => b.shape[0];

    /// <summary>What it adds: [..., inputs] to [..., rows].</summary>
    public Tensor Forward(Tensor input, bool training)
    {
        var read = training && dropout > 0 ? functional.dropout(input, dropout) : input;
        return functional.linear(functional.linear(read, a) * scaling, b);
    }

    /// <summary>What it comes to in the layer's weight: [rows, inputs], fp64.</summary>
    public Tensor Product() => b.to_type(ScalarType.Float64).matmul(a.to_type(ScalarType.Float64)) * scaling;
}
