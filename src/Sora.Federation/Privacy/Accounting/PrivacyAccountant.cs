using Sora.Protocol.Jobs;

namespace Sora.Federation.Privacy;

/// <summary>What a number of releases together cost. Both answers are upper bounds, up to the rounding of double arithmetic.</summary>
public abstract class PrivacyAccountant
{
    /// <summary>Its name in commands and files.</summary>
    public abstract string Name { get; }

    /// <summary>The smallest delta this accountant resolves.</summary>
    public abstract double LeastDelta { get; }

    /// <summary>The accountant of that name: <c>prv</c> (tight, the usual one) or <c>rdp</c> (looser, known longest).</summary>
    public static PrivacyAccountant Named(string name) => name switch
    {
        "prv" => new PrivacyLossAccountant(),
        "rdp" => new RenyiAccountant(),
        _ => throw new SoraException($"There is no privacy accountant '{name}'; there are prv and rdp.", ExitCode.Usage),
    };

    /// <summary>The epsilon at which the releases are (epsilon, <paramref name="delta"/>)-differentially private.</summary>
    public double Epsilon(IEnumerable<PrivacyEvent> events, double delta)
    {
        PrivacyEvent.CheckDelta(delta, LeastDelta);
        var merged = PrivacyEvent.Merge(events);
        return merged.Count == 0 ? 0 : EpsilonOf(merged, delta);
    }

    /// <summary>The delta at which the releases are (<paramref name="epsilon"/>, delta)-differentially private.</summary>
    public double Delta(IEnumerable<PrivacyEvent> events, double epsilon)
    {
        PrivacyEvent.CheckEpsilon(epsilon);
        var merged = PrivacyEvent.Merge(events);
        return merged.Count == 0 ? 0 : DeltaOf(merged, epsilon);
    }

    private protected abstract double EpsilonOf(IReadOnlyList<PrivacyEvent> events, double delta);

    private protected abstract double DeltaOf(IReadOnlyList<PrivacyEvent> events, double epsilon);
}
