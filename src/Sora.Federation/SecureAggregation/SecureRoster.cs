using System.Collections.Immutable;
using Sora.Federation.Identity;

namespace Sora.Federation.SecureAggregation;

/// <summary>
/// What follows from a roster of keys, alike at every site and at the coordinator: positions on the ring, neighbours, holders.
/// </summary>
internal sealed class SecureRoster
{
    private readonly ImmutableDictionary<string, int> _positions;
    private readonly ImmutableDictionary<string, AdvertisedKeys> _keys;
    private readonly ImmutableArray<string> _ring;

    /// <summary>The caller has checked that names are ordered and distinct.</summary>
    public SecureRoster(byte[] planDigest, ThreatModel threat, IReadOnlyList<AdvertisedKeys> sites)
    {
        Graph = SharingGraph.For(sites.Count, threat);
        _keys = sites.ToImmutableDictionary(keys => keys.Site, StringComparer.Ordinal);
        var digest = new Transcript("secure-aggregation/roster").Add(planDigest);
        foreach (var keys in sites)
            digest.Add(keys.Site).Add(keys.EncryptionKey).Add(keys.MaskKey);
        Digest = digest.Hash();
        // Nobody knows his place before all keys are fixed, so nobody can choose his neighbours.
        string PlaceOf(string site) => Convert.ToHexString(new Transcript("secure-aggregation/place").Add(Digest).Add(site).Hash());
        _ring = [.. sites.Select(keys => keys.Site).OrderBy(PlaceOf, StringComparer.Ordinal)];
        _positions = _ring.Select((site, position) => KeyValuePair.Create(site, position)).ToImmutableDictionary(StringComparer.Ordinal);
    }

    public SharingGraph Graph { get; }

    public byte[] Digest { get; }

    public int Count => _ring.Length;

    public bool Contains(string site) => _positions.ContainsKey(site);

    public AdvertisedKeys KeysOf(string site) => _keys[site];

    public bool AreNeighbours(string one, string other) => Graph.AreNeighbours(_positions[one], _positions[other]);

    public IEnumerable<string> NeighboursOf(string site) => Graph.NeighboursOf(_positions[site]).Select(position => _ring[position]);

    public IReadOnlyList<string> HoldersOf(string site) => [.. Graph.HoldersOf(_positions[site]).Select(position => _ring[position])];

    /// <summary>Whether <paramref name="holder"/> has shares of the secrets of <paramref name="owner"/>.</summary>
    public bool Holds(string holder, string owner) =>
        _positions.ContainsKey(holder) && (AreNeighbours(holder, owner) || (Graph.IsComplete && holder == owner));

    /// <summary>Where a holder's shares lie on the polynomial; 0 is the secret itself.</summary>
    public int PointOf(string site) => _positions[site] + 1;
}

/// <summary>What the identities of sites sign.</summary>
internal static class SignedStatements
{
    public static byte[] Keys(byte[] planDigest, string site, byte[] encryptionKey, byte[] maskKey) =>
        new Transcript("secure-aggregation/advertised-keys").Add(planDigest).Add(site).Add(encryptionKey).Add(maskKey).ToArray();

    public static byte[] Survivors(byte[] planDigest, byte[] rosterDigest, IReadOnlyList<string> survivors)
    {
        var statement = new Transcript("secure-aggregation/survivors").Add(planDigest).Add(rosterDigest);
        foreach (var site in survivors)
            statement.Add(site);
        return statement.ToArray();
    }

    /// <summary>Names in ordinal order, none twice: there is only one way to write a set.</summary>
    public static bool AreOrdered(IReadOnlyList<string> names) =>
        names.Zip(names.Skip(1)).All(pair => string.CompareOrdinal(pair.First, pair.Second) < 0);
}
