using Sora.Federation.Aggregation.Updates;

namespace Sora.Federation.Aggregation.Robust;

/// <summary>An update that is to be aggregated.</summary>
/// <param name="Update">The update.</param>
/// <param name="Scale">What its values count: 1, or less when it was clipped.</param>
public sealed record Contribution(SiteUpdate Update, double Scale = 1)
{
    /// <summary>The norm of the values as they count.</summary>
    public double Norm => Update.Norm * Scale;

    /// <summary>Reads values as they count.</summary>
    public void Read(long first, Span<float> values)
    {
        Update.Read(first, values);
        if (Scale == 1)
            return;
        for (var i = 0; i < values.Length; i++)
            values[i] = (float)(values[i] * Scale);
    }
}

/// <summary>What a screen decided.</summary>
/// <param name="Kept">What goes on, in the same order.</param>
/// <param name="Rejected">Who does not, and why.</param>
public sealed record Screening(IReadOnlyList<Contribution> Kept, IReadOnlyList<Rejected> Rejected);

/// <summary>Looks at updates before they are aggregated: leaves some out, or scales them. A pure function of the updates, which come in the order of the sites' names.</summary>
public interface IScreen
{
    /// <summary>Whether it compares updates with each other: then none may be aggregated, and let go, before all are there.</summary>
    bool NeedsAll { get; }

    /// <summary>Decides.</summary>
    Screening Screen(IReadOnlyList<Contribution> updates);
}
