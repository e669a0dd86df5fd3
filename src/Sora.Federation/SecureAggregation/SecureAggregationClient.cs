using System.Security.Cryptography;

namespace Sora.Federation.SecureAggregation;

/// <summary>
/// A site's side of one secure round (Bonawitz et al. 2017, with the signed consistency check). It does no input or output: each
/// method takes the coordinator's message of a stage and gives the answer. Anything out of order, inconsistent or below the site's
/// own rules is refused, and then, as after the last answer, every secret is wiped. Not for several threads.
/// </summary>
/// <remarks>
/// What protects the input x: y = x + own mask +- a mask with each neighbour. For a survivor the coordinator needs the own masks, for a
/// dropout the mask keys; whoever had both could take y apart. So a site reveals one kind of share for each peer, chosen by
/// itself from the one survivor set it signed, after seeing that a quorum signed the same.
/// </remarks>
public sealed class SecureAggregationClient : IDisposable
{
    private readonly SecureAggregationPlan _plan;
    private readonly string _site;
    private readonly SecureAggregationRules _rules;
    private readonly IIdentitySigner _signer;
    private readonly IIdentityVerifier _identities;
    private readonly RandomNumberGenerator _random;
    private readonly IKeyAgreement _agreement;
    private readonly byte[] _planDigest;
    private readonly byte[] _selfMaskSeed = new byte[ShamirSharing.SecretBytes];
    private readonly Dictionary<string, byte[]> _encryptionSecrets = new(StringComparer.Ordinal);
    private readonly Dictionary<string, HeldShares> _held = new(StringComparer.Ordinal);
    private readonly HashSet<string> _sharers = new(StringComparer.Ordinal);

    private Stage _stage = Stage.Created;
    private IAgreementKey? _encryptionKey;
    private IAgreementKey? _maskKey;
    private SecureRoster? _roster;
    private InputMasker? _masker;
    private IReadOnlyList<string> _survivors = [];

    /// <summary>Joins a round.</summary>
    /// <param name="plan">As announced by the coordinator.</param>
    /// <param name="site">The name this site is registered by.</param>
    /// <param name="rules">What the site demands.</param>
    /// <param name="signer">Signs with this site's identity.</param>
    /// <param name="identities">The identities the site trusts.</param>
    /// <param name="random">Where the secrets come from.</param>
    public SecureAggregationClient(SecureAggregationPlan plan, string site, SecureAggregationRules rules,
        IIdentitySigner signer, IIdentityVerifier identities, RandomNumberGenerator random)
        : this(plan, site, rules, signer, identities, random, new P256KeyAgreement())
    {
    }

    internal SecureAggregationClient(SecureAggregationPlan plan, string site, SecureAggregationRules rules,
        IIdentitySigner signer, IIdentityVerifier identities, RandomNumberGenerator random, IKeyAgreement agreement)
    {
        plan.Validate();
        (_plan, _site, _rules, _signer, _identities, _random, _agreement) = (plan, site, rules, signer, identities, random, agreement);
        _planDigest = plan.Digest();
    }

    private enum Stage { Created, AdvertisedKeys, SharedKeys, MaskingInput, SignedSurvivors, Finished, Refused }

    private sealed record HeldShares(byte[] MaskKeyShare, byte[] SelfMaskShare);

    private SecureRoster Roster => _roster ?? throw new InvalidOperationException("There is no roster before keys are shared.");

    private int Quorum => Math.Max(Roster.Graph.MinimumSurvivors, _rules.MinimumSurvivors);

    /// <summary>Stage 0: makes two fresh key pairs.</summary>
    public AdvertisedKeys AdvertiseKeys() => Answer(Stage.Created, Stage.AdvertisedKeys, () =>
    {
        Require(_plan.Threat.Adversary >= _rules.LeastAdversary && _plan.Threat.AdversarialRate >= _rules.LeastAdversarialRate,
            $"was asked into a round that withstands {_plan.Threat.Adversary} with {_plan.Threat.AdversarialRate} of the sites, "
            + $"its rules demand {_rules.LeastAdversary} with {_rules.LeastAdversarialRate}");
        _encryptionKey = _agreement.Generate();
        _maskKey = _agreement.Generate();
        var statement = SignedStatements.Keys(_planDigest, _site, _encryptionKey.PublicKey, _maskKey.PublicKey);
        return new AdvertisedKeys(_site, _encryptionKey.PublicKey, _maskKey.PublicKey, _signer.Sign(statement));
    });

    /// <summary>Stage 1: shares this site's secrets among its neighbours.</summary>
    public KeyShares ShareKeys(KeyRoster roster) => Answer(Stage.AdvertisedKeys, Stage.SharedKeys, () =>
    {
        _roster = Accept(roster);
        _random.GetBytes(_selfMaskSeed);
        var holders = _roster.HoldersOf(_site);
        var points = holders.Select(_roster.PointOf).ToArray();
        var threshold = _roster.Graph.Threshold;
        var maskKey = _maskKey!.ExportPrivateKey();
        var maskKeyShares = ShamirSharing.Split(maskKey, threshold, points, _random);
        var selfMaskShares = ShamirSharing.Split(_selfMaskSeed, threshold, points, _random);
        CryptographicOperations.ZeroMemory(maskKey);

        var sealedShares = new List<SealedShares>();
        for (var i = 0; i < holders.Count; i++)
        {
            if (holders[i] == _site)
            {
                _held[_site] = new HeldShares(maskKeyShares[i], selfMaskShares[i]);
                continue;
            }
            var agreed = _encryptionKey!.Agree(_roster.KeysOf(holders[i]).EncryptionKey);
            _encryptionSecrets[holders[i]] = agreed;
            byte[] plain = [.. maskKeyShares[i], .. selfMaskShares[i]];
            sealedShares.Add(new(_site, holders[i], KeySchedule.Seal(agreed, _planDigest, _roster.Digest, _site, holders[i], plain)));
            Wipe(plain, maskKeyShares[i], selfMaskShares[i]);
        }
        return new KeyShares(_site, KeySchedule.CommitToSelfMask(_selfMaskSeed, _planDigest, _site), sealedShares);
    });

    /// <summary>Stage 2: takes the neighbours' shares, and gives what masks this site's update.</summary>
    /// <param name="delivery">The shares made for this site.</param>
    /// <param name="weight">Weight of this site in the mean, 1 to the encoding's maximum.</param>
    public InputMasker MaskInput(ShareDelivery delivery, int weight) => Answer(Stage.SharedKeys, Stage.MaskingInput, () =>
    {
        _plan.Encoding.RequireWeight(weight);
        Require(delivery.Site == _site, $"was sent the shares for {delivery.Site}");
        foreach (var shares in delivery.Shares)
            Hold(shares);
        Require(_sharers.Count >= _rules.MinimumNeighbours,
            $"has {_sharers.Count} neighbours left to mask with, its rules demand {_rules.MinimumNeighbours}");
        Require(_held.Count >= Roster.Graph.Threshold,
            $"got readable shares from {_held.Count} sites, fewer than the threshold of {Roster.Graph.Threshold}");

        var masks = new List<(CounterStream Stream, bool Adds)> { (Stream(KeySchedule.SelfMask(_selfMaskSeed, _planDigest, _site)), true) };
        foreach (var peer in _sharers)
        {
            var agreed = _maskKey!.Agree(Roster.KeysOf(peer).MaskKey);
            masks.Add((Stream(KeySchedule.PairMask(agreed, _planDigest, _site, peer)), KeySchedule.AddsMaskWith(_site, peer)));
            Wipe(agreed);
        }
        _masker = new InputMasker(_plan, _site, weight, masks);
        return _masker;
    });

    /// <summary>Stage 3: signs the set of survivors this site was told.</summary>
    public SurvivorSignature SignSurvivors(SurvivorSet set) => Answer(Stage.MaskingInput, Stage.SignedSurvivors, () =>
    {
        var survivors = set.Survivors;
        Require(_masker!.IsComplete, "was called a survivor before its input was complete");
        Require(SignedStatements.AreOrdered(survivors), "was sent a set of survivors that is not ordered, or names a site twice");
        foreach (var site in survivors)
            Require(Roster.Contains(site), $"was sent a set of survivors with {site}, which is not of this round");
        Require(survivors.Contains(_site), "was sent a set of survivors without itself");
        Require(survivors.Count >= Quorum, $"was sent {survivors.Count} survivors, fewer than the {Quorum} needed");
        var neighbours = survivors.Where(site => site != _site && Roster.AreNeighbours(_site, site)).ToArray();
        // A survivor whose shares never came has put on a mask that this site has not.
        if (neighbours.FirstOrDefault(site => !_sharers.Contains(site)) is { } stranger)
            throw Refusal($"was sent a set of survivors with its neighbour {stranger}, whose shares it never got");
        Require(neighbours.Length >= _rules.MinimumNeighbours,
            $"has {neighbours.Length} surviving neighbours, its rules demand {_rules.MinimumNeighbours}");
        _survivors = [.. survivors];
        return new SurvivorSignature(_site, _signer.Sign(SignedStatements.Survivors(_planDigest, Roster.Digest, _survivors)));
    });

    /// <summary>Stage 4: reveals one share for each peer, once, if a quorum signed the set of survivors this site signed.</summary>
    public UnmaskShares Unmask(UnmaskRequest request) => Answer(Stage.SignedSurvivors, Stage.Finished, () =>
    {
        Require(_survivors.SequenceEqual(request.Survivors, StringComparer.Ordinal), "is to unmask another set of survivors than it signed");
        var statement = SignedStatements.Survivors(_planDigest, Roster.Digest, _survivors);
        var signers = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (site, signature) in request.Signatures)
        {
            Require(_survivors.Contains(site, StringComparer.Ordinal), $"was sent a signature by {site}, which is no survivor");
            Require(signers.Add(site), $"was sent two signatures by {site}");
            Require(_identities.Verify(site, statement, signature), $"was sent a wrong signature by {site} under the set of survivors");
        }
        Require(signers.Count >= Quorum, $"saw {signers.Count} signatures under the set of survivors, {Quorum} are needed");

        var survivors = _survivors.ToHashSet(StringComparer.Ordinal);
        return new UnmaskShares(_site, [.. _held.OrderBy(held => held.Key, StringComparer.Ordinal).Select(held => survivors.Contains(held.Key)
            ? new RevealedShare(held.Key, ShareKind.SelfMask, [.. held.Value.SelfMaskShare])
            : new RevealedShare(held.Key, ShareKind.MaskKey, [.. held.Value.MaskKeyShare]))]);
    });

    /// <summary>Leaves the round and wipes its secrets.</summary>
    public void Dispose()
    {
        WipeSecrets();
        if (_stage != Stage.Finished)
            _stage = Stage.Refused;
    }

    /// <summary>Whether any secret of the round is still in memory.</summary>
    internal bool HoldsSecrets => _encryptionKey is not null || _maskKey is not null || _held.Count > 0 || _encryptionSecrets.Count > 0
        || _selfMaskSeed.AsSpan().ContainsAnyExcept((byte)0);

    private SecureRoster Accept(KeyRoster message)
    {
        var sites = message.Sites;
        Require(SignedStatements.AreOrdered([.. sites.Select(keys => keys.Site)]), "was sent a roster that is not ordered, or names a site twice");
        var most = Math.Min(_plan.Encoding.MaximumSites, _rules.MaximumSites);
        Require(sites.Count <= most, $"was sent a roster of {sites.Count} sites, more than {most}");
        var least = Math.Max(_plan.MinimumSites, _rules.MinimumSurvivors);
        Require(sites.Count >= least, $"was sent a roster of {sites.Count} sites, fewer than {least}");
        var own = sites.FirstOrDefault(keys => keys.Site == _site);
        Require(own is not null && own.EncryptionKey.AsSpan().SequenceEqual(_encryptionKey!.PublicKey) && own.MaskKey.AsSpan().SequenceEqual(_maskKey!.PublicKey),
            "was sent a roster without its own keys");
        var distinct = sites.SelectMany(keys => new[] { keys.EncryptionKey, keys.MaskKey }).Select(Convert.ToHexString).Distinct().Count();
        Require(distinct == 2 * sites.Count, "was sent a roster in which a key occurs twice");
        foreach (var keys in sites.Where(keys => keys.Site != _site))
        {
            Require(_identities.Verify(keys.Site, SignedStatements.Keys(_planDigest, keys.Site, keys.EncryptionKey, keys.MaskKey), keys.Signature),
                $"was sent keys of {keys.Site} that its identity did not sign for this round");
            Require(_agreement.IsPublicKey(keys.EncryptionKey) && _agreement.IsPublicKey(keys.MaskKey), $"was sent keys of {keys.Site} that are no keys");
        }
        var roster = new SecureRoster(_planDigest, _plan.Threat, sites);
        Require(roster.Graph.Degree >= _rules.MinimumNeighbours, $"would have {roster.Graph.Degree} neighbours, its rules demand {_rules.MinimumNeighbours}");
        Require(roster.Graph.Threshold >= _rules.MinimumThreshold,
            $"would have its secrets restored by {roster.Graph.Threshold} shares, its rules demand {_rules.MinimumThreshold}");
        return roster;
    }

    private void Hold(SealedShares shares)
    {
        Require(shares.To == _site, $"was sent shares for {shares.To}");
        Require(shares.From != _site, "was sent shares of its own");
        Require(Roster.Contains(shares.From), $"was sent shares of {shares.From}, which is not of this round");
        Require(Roster.AreNeighbours(_site, shares.From), $"was sent shares of {shares.From}, which is not its neighbour");
        Require(_sharers.Add(shares.From), $"was sent shares of {shares.From} twice");
        var plain = KeySchedule.Open(_encryptionSecrets[shares.From], _planDigest, Roster.Digest, shares.From, _site, shares.Box);
        // An unreadable share is the sender's fault, and others hold shares too: it must not cost the round more than this one.
        if (plain is not { Length: 2 * ShamirSharing.ShareBytes })
            return;
        _held[shares.From] = new HeldShares(plain[..ShamirSharing.ShareBytes], plain[ShamirSharing.ShareBytes..]);
        Wipe(plain);
    }

    private static CounterStream Stream(byte[] key)
    {
        var stream = new CounterStream(key);
        Wipe(key);
        return stream;
    }

    private T Answer<T>(Stage expected, Stage next, Func<T> answer)
    {
        if (_stage != expected)
            throw Refusal($"is in stage {_stage} and was asked for what follows {expected}; each stage is answered once");
        _stage = Stage.Refused;
        try
        {
            var message = answer();
            _stage = next;
            return message;
        }
        finally
        {
            if (_stage is Stage.Refused or Stage.Finished)
                WipeSecrets();
        }
    }

    private void Require(bool holds, string otherwise)
    {
        if (!holds)
            throw Refusal(otherwise);
    }

    private SecureAggregationRefusedException Refusal(string reason) => new(
        $"Secure aggregation in round {_plan.Round} of {_plan.Run} was refused: site {_site} {reason}. Nothing more is sent in this round.");

    private void WipeSecrets()
    {
        _encryptionKey?.Dispose();
        _maskKey?.Dispose();
        _masker?.Dispose();
        (_encryptionKey, _maskKey) = (null, null);
        CryptographicOperations.ZeroMemory(_selfMaskSeed);
        foreach (var secret in _encryptionSecrets.Values)
            Wipe(secret);
        foreach (var held in _held.Values)
            Wipe(held.MaskKeyShare, held.SelfMaskShare);
        _encryptionSecrets.Clear();
        _held.Clear();
    }

    private static void Wipe(params ReadOnlySpan<byte[]> secrets)
    {
        foreach (var secret in secrets)
            CryptographicOperations.ZeroMemory(secret);
    }
}
