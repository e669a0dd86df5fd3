using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Rounds;

/// <summary>Who is asked for a round.</summary>
/// <param name="Sites">In the order of names.</param>
/// <param name="Target">Updates the round wants: fewer than sites where some are expected to drop out.</param>
/// <param name="Quorum">Updates without which it does not close.</param>
public sealed record Cohort(ImmutableArray<string> Sites, int Target, int Quorum);

/// <summary>
/// Seeded sampling. Every site has a rank that depends on seed, round and its own name only: whoever else comes or goes, it moves
/// up or down by one place, and anybody who knows the seed can check that nobody was picked by hand.
/// </summary>
public static class CohortSelection
{
    // 0.1 * 30 is a little more than 3.
    private const double Rounding = 1e-9;

    /// <summary>The cohort of a round.</summary>
    /// <param name="seed">The job's.</param>
    /// <param name="round">Counts from 1.</param>
    /// <param name="eligible">Names of the sites that can take part.</param>
    /// <param name="settings">How many.</param>
    /// <param name="last">Sites to take only if there are no others: an attempt at this round was given up waiting for them.</param>
    public static Cohort Choose(long seed, int round, IReadOnlyCollection<string> eligible, FederationSettings settings, IReadOnlySet<string>? last = null)
    {
        if (settings.Mode == FederationMode.Asynchronous)
            return new Cohort([.. eligible.Order(StringComparer.Ordinal)], settings.BufferSize, settings.BufferSize);
        var wanted = Math.Max(settings.Quorum ?? 1, AtLeast(settings.FractionTrain * eligible.Count));
        var target = Math.Min(eligible.Count, Math.Max(wanted, settings.SecureAggregation is null ? 1 : 2));
        var asked = Math.Min(eligible.Count, AtLeast(target * settings.OverSelection));
        var sites = eligible
            .OrderBy(site => last?.Contains(site) == true)
            .ThenBy(site => Rank(seed, round, site))
            .ThenBy(site => site, StringComparer.Ordinal)
            .Take(asked)
            .Order(StringComparer.Ordinal);
        return new Cohort([.. sites], target, Math.Min(settings.Quorum ?? target, target));
    }

    private static int AtLeast(double number) => (int)Math.Ceiling(number - Rounding);

    private static ulong Rank(long seed, int round, string site)
    {
        Span<byte> bytes = stackalloc byte[12 + Encoding.UTF8.GetMaxByteCount(Math.Min(site.Length, 256))];
        // A name is an identity that was registered; none is so long.
        if (site.Length > 256)
            throw new ArgumentException($"The name of site {site} is longer than 256 characters.", nameof(site));
        BinaryPrimitives.WriteInt64LittleEndian(bytes, seed);
        BinaryPrimitives.WriteInt32LittleEndian(bytes[8..], round);
        var length = 12 + Encoding.UTF8.GetBytes(site, bytes[12..]);
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(bytes[..length], hash);
        return BinaryPrimitives.ReadUInt64LittleEndian(hash);
    }
}
