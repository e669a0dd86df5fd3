using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;

namespace Sora.Federation.SecureAggregation;

/// <summary>
/// Restores secrets from revealed shares and derives the masks of them. A restored secret is checked against what its owner
/// published; where shares are to spare, wrong ones are left out by trying others.
/// </summary>
internal sealed class MaskRestoration
{
    private readonly byte[] _planDigest;
    private readonly SecureRoster _roster;
    private readonly IKeyAgreement _agreement;
    private readonly Dictionary<(string Peer, ShareKind Kind), List<(int Point, byte[] Share)>> _shares = [];

    public MaskRestoration(byte[] planDigest, SecureRoster roster, IKeyAgreement agreement, IReadOnlyList<UnmaskShares> revealed)
    {
        (_planDigest, _roster, _agreement) = (planDigest, roster, agreement);
        foreach (var answer in revealed)
            foreach (var (peer, kind, share) in answer.Shares)
            {
                if (!_shares.TryGetValue((peer, kind), out var shares))
                    _shares.Add((peer, kind), shares = []);
                shares.Add((roster.PointOf(answer.Site), share));
            }
    }

    /// <summary>The mask a survivor put on alone; null, and why, if it cannot be restored.</summary>
    public RestoredMask? SelfMask(KeyShares owner, out string? reason)
    {
        bool IsGenuine(byte[] seed) =>
            CryptographicOperations.FixedTimeEquals(KeySchedule.CommitToSelfMask(seed, _planDigest, owner.Site), owner.SelfMaskCommitment);
        if (!TryRestore(owner.Site, ShareKind.SelfMask, IsGenuine, out var seed, out reason))
            return null;
        return new RestoredMask(KeySchedule.SelfMask(seed, _planDigest, owner.Site), IsAdded: true);
    }

    /// <summary>The masks that survivors put on for a site that dropped out; null, and why, if they cannot be restored.</summary>
    public IReadOnlyList<RestoredMask>? PairMasks(string dropped, IReadOnlyList<string> survivors, out string? reason)
    {
        reason = null;
        var neighbours = survivors.Where(survivor => _roster.AreNeighbours(survivor, dropped)).ToArray();
        if (neighbours.Length == 0)
            return [];
        IAgreementKey? key = null;
        bool IsGenuine(byte[] privateKey)
        {
            key?.Dispose();
            key = _agreement.Import(privateKey);
            return key is not null && key.PublicKey.AsSpan().SequenceEqual(_roster.KeysOf(dropped).MaskKey);
        }
        try
        {
            if (!TryRestore(dropped, ShareKind.MaskKey, IsGenuine, out _, out reason))
                return null;
            return [.. neighbours.Select(survivor => new RestoredMask(
                KeySchedule.PairMask(key!.Agree(_roster.KeysOf(survivor).MaskKey), _planDigest, survivor, dropped),
                IsAdded: KeySchedule.AddsMaskWith(survivor, dropped)))];
        }
        finally
        {
            key?.Dispose();
        }
    }

    private bool TryRestore(string owner, ShareKind kind, Func<byte[], bool> isGenuine, [NotNullWhen(true)] out byte[]? secret, out string? reason)
    {
        var threshold = _roster.Graph.Threshold;
        var shares = _shares.GetValueOrDefault((owner, kind)) ?? [];
        var what = kind == ShareKind.SelfMask ? "own mask" : "mask key";
        (secret, reason) = (null, null);
        if (shares.Count < threshold)
        {
            reason = $"the {what} of {owner} needs {threshold} shares, {shares.Count} were revealed";
            return false;
        }
        // Each run of `threshold` successive shares, round the end: with one to spare, some run leaves any one liar out.
        var attempts = shares.Count == threshold ? 1 : shares.Count;
        for (var start = 0; start < attempts; start++)
        {
            var run = Enumerable.Range(start, threshold).Select(i => shares[i % shares.Count]).ToArray();
            if (ShamirSharing.TryCombine(run, out secret) && isGenuine(secret))
                return true;
        }
        reason = $"the {shares.Count} shares revealed of the {what} of {owner} do not fit what it published; some site shared or revealed wrong ones";
        return false;
    }
}
