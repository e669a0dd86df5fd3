using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Sora.Model.Zoo;

/// <summary>How a weight begins.</summary>
/// <param name="Kind">Which distribution.</param>
/// <param name="Value">The constant, the standard deviation, or the bound of the symmetric uniform distribution.</param>
internal readonly record struct InitialValue(InitialKind Kind, double Value)
{
    public static InitialValue Constant(double value) => new(InitialKind.Constant, value);
    public static InitialValue Normal(double deviation) => new(InitialKind.Normal, deviation);
    public static InitialValue Uniform(double bound) => new(InitialKind.Uniform, bound);
}

/// <summary>Distributions weights begin with.</summary>
internal enum InitialKind { Constant, Normal, Uniform }

/// <summary>Rows of a weight that have a name of their own in files.</summary>
/// <param name="Name">Name in files.</param>
/// <param name="Rows">Rows of the first dimension.</param>
internal readonly record struct WeightPart(string Name, long Rows);

/// <summary>
/// A trainable tensor. Projections that read the same input are stored one below the other, so that one matrix product
/// serves them all; in files each part has its own name.
/// </summary>
/// <param name="Value">The tensor autograd sees.</param>
/// <param name="Start">How it begins.</param>
/// <param name="Parts">Its named parts, in row order; together they cover it.</param>
internal sealed record Weight(Parameter Value, InitialValue Start, IReadOnlyList<WeightPart> Parts)
{
    /// <summary>A weight that is one part.</summary>
    public Weight(Parameter value, InitialValue start, string name) : this(value, start, [new WeightPart(name, value.shape[0])]) { }

    /// <summary>Views of the parts in a tensor laid out like this weight: the weight itself, its gradient, an optimizer's state.</summary>
    public IEnumerable<(string Name, Tensor View)> Views(Tensor like)
    {
        long row = 0;
        foreach (var part in Parts)
        {
            yield return (part.Name, like.narrow(0, row, part.Rows));
            row += part.Rows;
        }
    }

    /// <summary>The weight's initial values in host memory: a function of the seed, its place among the weights, and its shape alone.</summary>
    public Tensor Draw(long seed, int index)
    {
        var values = empty(Value.shape, dtype: ScalarType.Float32, device: CPU);
        using var generator = new Generator((ulong)Training.RandomSeed.Of(seed, index));
        return Start.Kind switch
        {
            InitialKind.Normal => values.normal_(0, Start.Value, generator),
            InitialKind.Uniform => values.uniform_(-Start.Value, Start.Value, generator),
            _ => values.fill_(Start.Value),
        };
    }
}
