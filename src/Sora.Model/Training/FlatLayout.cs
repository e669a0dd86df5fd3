using Sora.Model.Zoo;
using static TorchSharp.torch;

namespace Sora.Model.Training;

/// <summary>
/// Where each weight lies in one flat tensor. Matrices come first and are decayed, vectors (norms, biases) follow and are
/// not, so that an optimizer works on two runs of memory instead of one call a weight.
/// </summary>
internal sealed class FlatLayout
{
    // Weights begin on cache lines, as the matrix kernels like it. The gap stays zero for ever.
    private const long Alignment = 16;

    private readonly List<(Weight Weight, long Offset)> _places = [];

    public FlatLayout(IReadOnlyList<Weight> weights)
    {
        foreach (var weight in weights.Where(IsDecayed))
            Place(weight);
        DecayedLength = Length;
        foreach (var weight in weights.Where(weight => !IsDecayed(weight)))
            Place(weight);
    }

    /// <summary>Elements, gaps included.</summary>
    public long Length { get; private set; }

    /// <summary>Elements at the front that weight decay applies to.</summary>
    public long DecayedLength { get; }

    public IReadOnlyList<(Weight Weight, long Offset)> Places => _places;

    /// <summary>The part of a flat tensor that holds a weight, in its shape.</summary>
    public static Tensor View(Tensor flat, (Weight Weight, long Offset) place)
    {
        using var part = flat.narrow(0, place.Offset, place.Weight.Value.numel());
        return part.view(place.Weight.Value.shape);
    }

    /// <summary>Views of a flat tensor by the names the weights have in files, each with a prefix.</summary>
    public IEnumerable<NamedTensor> Named(Tensor flat, string prefix = "")
    {
        foreach (var place in _places)
        {
            using var whole = View(flat, place);
            foreach (var (name, view) in place.Weight.Views(whole))
                yield return new NamedTensor(prefix + name, view);
        }
    }

    private void Place(Weight weight)
    {
        _places.Add((weight, Length));
        Length += (weight.Value.numel() + Alignment - 1) / Alignment * Alignment;
    }

    private static bool IsDecayed(Weight weight) => weight.Value.dim() >= 2;
}
