namespace Sora.Federation.SecureAggregation;

/// <summary>A ring in which each of <paramref name="Sites"/> is joined to the <paramref name="Degree"/> / 2 next on either side.</summary>
/// <param name="Sites">Number of sites.</param>
/// <param name="Degree">Neighbours of each site, even.</param>
/// <param name="Threshold">Shares that restore a secret held by the neighbours.</param>
public sealed record HararyParameters(int Sites, int Degree, int Threshold)
{
    /// <summary>The protocol is insecure with a probability below 2^-40.</summary>
    public const int SecurityBits = 40;

    /// <summary>It fails, though no more sites dropped out than assumed, with a probability below 2^-20.</summary>
    public const int CorrectnessBits = 20;

    /// <summary>More sites than this are refused.</summary>
    public const int MaximumSites = 1_000_000;

    /// <summary>
    /// The fewest neighbours that keep a round both secure and completable (Bell et al. 2020, "Secure Single-Server Aggregation with
    /// (Poly)Logarithmic Overhead"), or null if only the complete graph can, or nothing.
    /// </summary>
    public static HararyParameters? Find(int sites, ThreatModel threat)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(sites, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(sites, MaximumSites);
        if (threat.Objection() is not null)
            return null;
        for (var degree = 2; degree < sites - 1; degree += 2)
            if (FindThreshold(sites, degree, threat) is { } threshold)
                return new(sites, degree, threshold);
        return null;
    }

    private static int? FindThreshold(int sites, int degree, ThreatModel threat)
    {
        // The budget of insecurity is split between the two ways to lose privacy: a torn graph, and too many bad neighbours.
        if (LogProbabilityTorn(sites, degree, threat) >= -(SecurityBits + 1) * Math.Log(2))
            return null;

        // With all but this probability at most `bad` of a site's neighbours are adversaries, for every site at once...
        var insecure = Math.Pow(2, -(SecurityBits + 1)) / sites;
        var bad = degree - HypergeometricTail.LowerQuantile(sites, sites - threat.Adversaries(sites), degree, insecure);
        // ... and at least `alive` of them survive.
        var incorrect = Math.Pow(2, -CorrectnessBits) / sites;
        var alive = HypergeometricTail.LowerQuantile(sites, threat.Survivors(sites), degree, incorrect);

        // A coordinator that lies gets one kind of share from each honest neighbour and both from a bad one. It must not
        // reach the threshold for both kinds: 2 t > degree + bad.
        var least = threat.Adversary == AdversaryClass.SemiMaliciousServer ? (degree + bad) / 2 + 1 : bad + 1;
        var threshold = Math.Max(least, 2);
        return threshold <= alive ? threshold : null;
    }

    /// <summary>
    /// A bound on the probability that the honest survivors fall apart. To tear the ring, degree / 2 successive sites must be bad
    /// at two disjoint places; there are sites * (sites - degree - 1) / 2 pairs of such places.
    /// </summary>
    private static double LogProbabilityTorn(int sites, int degree, ThreatModel threat)
    {
        var bad = threat.Adversaries(sites) + threat.Dropouts(sites);
        if (degree > bad)
            return double.NegativeInfinity;
        var logPairs = Math.Log(sites) + Math.Log(sites - degree - 1) - Math.Log(2);
        return logPairs + HypergeometricTail.LogFactorial(bad) + HypergeometricTail.LogFactorial(sites - degree)
            - HypergeometricTail.LogFactorial(sites) - HypergeometricTail.LogFactorial(bad - degree);
    }
}
