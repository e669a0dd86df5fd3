using Sora.Model.Zoo;
using static TorchSharp.torch;

namespace Sora.Model.Training;

/// <summary>A run of neighbouring weights in a flat tensor.</summary>
/// <param name="Start">Its first element.</param>
/// <param name="Length">Its elements.</param>
/// <param name="Places">The weights in it.</param>
internal sealed record FlatRun(long Start, long Length, IReadOnlyList<(Weight Weight, long Offset)> Places);

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
    public IEnumerable<NamedTensor> Named(Tensor flat, string prefix = "") => Named(flat, new FlatRun(0, Length, _places), prefix);

    /// <summary>The same of a tensor that holds one run.</summary>
    public static IEnumerable<NamedTensor> Named(Tensor flat, FlatRun run, string prefix)
    {
        foreach (var (weight, offset) in run.Places)
        {
            using var whole = View(flat, (weight, offset - run.Start));
            foreach (var (name, view) in weight.Views(whole))
                yield return new NamedTensor(prefix + name, view);
        }
    }

    /// <summary>The weights of which some part is wanted, as few runs as that makes.</summary>
    public IEnumerable<FlatRun> Runs(Func<string, bool> wanted)
    {
        var run = new List<(Weight Weight, long Offset)>();
        foreach (var place in _places)
        {
            if (place.Weight.Parts.Any(part => wanted(part.Name)))
            {
                run.Add(place);
            }
            else if (run.Count > 0)
            {
                yield return Run(run);
                run = [];
            }
        }
        if (run.Count > 0)
            yield return Run(run);

        static FlatRun Run(List<(Weight Weight, long Offset)> places) =>
            new(places[0].Offset, places[^1].Offset + places[^1].Weight.Value.numel() - places[0].Offset, places);
    }

    private void Place(Weight weight)
    {
        _places.Add((weight, Length));
        Length += (weight.Value.numel() + Alignment - 1) / Alignment * Alignment;
    }

    private static bool IsDecayed(Weight weight) => weight.Value.dim() >= 2;
}
