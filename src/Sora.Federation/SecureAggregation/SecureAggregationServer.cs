using System.Collections.Immutable;
using Sora.Protocol.Jobs;

namespace Sora.Federation.SecureAggregation;

/// <summary>The stages of a secure round. A site may drop out in any of them.</summary>
public enum SecureAggregationStage
{
    /// <summary>Sites send their public keys.</summary>
    AdvertiseKeys,
    /// <summary>Sites share their secrets among their neighbours.</summary>
    ShareKeys,
    /// <summary>Sites send their masked updates.</summary>
    MaskedInput,
    /// <summary>Survivors sign who survived.</summary>
    ConsistencyCheck,
    /// <summary>Signers reveal the shares that take the masks off.</summary>
    Unmask,
    /// <summary>All masks are known.</summary>
    Done,
    /// <summary>Too few were left, see <see cref="SecureAggregationServer.Failure"/>.</summary>
    Failed,
}

/// <summary>Why a round ended without a sum.</summary>
/// <param name="Stage">The stage that could not be closed.</param>
/// <param name="Reason">For people.</param>
public sealed record SecureAggregationFailure(SecureAggregationStage Stage, string Reason);

/// <summary>A message the coordinator did not take; its sender counts as if it had not sent it.</summary>
public sealed record RefusedMessage(string Site, SecureAggregationStage Stage, string Reason);

/// <summary>
/// The coordinator's side of one secure round: an immutable value. Messages are received one by one; when all are here or the
/// deadline is over the stage is closed, and what to send next can be read off. The masked inputs themselves do not pass here but
/// through a <see cref="MaskedSum"/>, so this stays small.
/// </summary>
public sealed record SecureAggregationServer
{
    private readonly SecureAggregationPlan _plan;
    private readonly IIdentityVerifier _identities;
    private readonly IKeyAgreement _agreement;
    private readonly byte[] _planDigest;

    private SecureAggregationServer(SecureAggregationPlan plan, IIdentityVerifier identities, IKeyAgreement agreement)
    {
        plan.Validate();
        (_plan, _identities, _agreement, _planDigest) = (plan, identities, agreement, plan.Digest());
    }

    /// <summary>Begins a round.</summary>
    /// <param name="plan">What was announced.</param>
    /// <param name="identities">The identities of the admitted sites.</param>
    public static SecureAggregationServer Start(SecureAggregationPlan plan, IIdentityVerifier identities) => Start(plan, identities, new P256KeyAgreement());

    internal static SecureAggregationServer Start(SecureAggregationPlan plan, IIdentityVerifier identities, IKeyAgreement agreement) =>
        new(plan, identities, agreement);

    /// <summary>The stage that is open.</summary>
    public SecureAggregationStage Stage { get; private init; }

    /// <summary>Why the round failed.</summary>
    public SecureAggregationFailure? Failure { get; private init; }

    /// <summary>Messages that were not taken, oldest first.</summary>
    public ImmutableList<RefusedMessage> RefusedMessages { get; private init; } = [];

    /// <summary>To send when <see cref="SecureAggregationStage.AdvertiseKeys"/> is closed, to all in it.</summary>
    public KeyRoster? Roster { get; private init; }

    /// <summary>To send when <see cref="SecureAggregationStage.MaskedInput"/> is closed, to all in it.</summary>
    public SurvivorSet? Survivors { get; private init; }

    /// <summary>To send when <see cref="SecureAggregationStage.ConsistencyCheck"/> is closed, to all that signed.</summary>
    public UnmaskRequest? UnmaskRequest { get; private init; }

    /// <summary>When <see cref="SecureAggregationStage.Unmask"/> is closed: the masks in the sum of the survivors' inputs.</summary>
    public IReadOnlyList<RestoredMask> Masks { get; private init; } = [];

    /// <summary>The sites that may send a masked input: all that shared their secrets, by name.</summary>
    public IReadOnlyList<string> Sharers => [.. Shared.Keys];

    private ImmutableSortedDictionary<string, AdvertisedKeys> Advertised { get; init; } = Empty<AdvertisedKeys>();
    private ImmutableSortedDictionary<string, KeyShares> Shared { get; init; } = Empty<KeyShares>();
    private ImmutableSortedDictionary<string, SurvivorSignature> Signed { get; init; } = Empty<SurvivorSignature>();
    private ImmutableSortedDictionary<string, UnmaskShares> Revealed { get; init; } = Empty<UnmaskShares>();
    private SecureRoster? Graph { get; init; }

    /// <summary>Takes a site's public keys.</summary>
    public SecureAggregationServer Receive(AdvertisedKeys keys)
    {
        if (WhyNot(keys.Site, SecureAggregationStage.AdvertiseKeys, Advertised) is { } reason)
            return Refuse(keys.Site, reason);
        if (Advertised.Count == _plan.Encoding.MaximumSites)
            return Refuse(keys.Site, $"the round is full, it sums at most {_plan.Encoding.MaximumSites} sites");
        if (!_identities.Verify(keys.Site, SignedStatements.Keys(_planDigest, keys.Site, keys.EncryptionKey, keys.MaskKey), keys.Signature))
            return Refuse(keys.Site, "its identity did not sign these keys for this round");
        if (!_agreement.IsPublicKey(keys.EncryptionKey) || !_agreement.IsPublicKey(keys.MaskKey))
            return Refuse(keys.Site, "these are no public keys");
        // One site that repeats a key would make all others refuse the roster.
        var known = Advertised.Values.SelectMany(other => new[] { other.EncryptionKey, other.MaskKey });
        if (keys.EncryptionKey.AsSpan().SequenceEqual(keys.MaskKey)
            || known.Any(key => key.AsSpan().SequenceEqual(keys.EncryptionKey) || key.AsSpan().SequenceEqual(keys.MaskKey)))
            return Refuse(keys.Site, "its keys occur twice");
        return this with { Advertised = Advertised.Add(keys.Site, keys) };
    }

    /// <summary>Ends the stage; <see cref="Roster"/> is next.</summary>
    public SecureAggregationServer CloseAdvertising()
    {
        Expect(SecureAggregationStage.AdvertiseKeys);
        if (Advertised.Count < _plan.MinimumSites)
            return Fail($"{Advertised.Count} sites advertised keys, at least {_plan.MinimumSites} are needed");
        var roster = new KeyRoster([.. Advertised.Values]);
        try
        {
            var graph = new SecureRoster(_planDigest, _plan.Threat, roster.Sites);
            return this with { Stage = SecureAggregationStage.ShareKeys, Roster = roster, Graph = graph };
        }
        catch (SoraException exception)
        {
            return Fail(exception.Message);
        }
    }

    /// <summary>Takes a site's shares for its neighbours.</summary>
    public SecureAggregationServer Receive(KeyShares shares)
    {
        if (WhyNot(shares.Site, SecureAggregationStage.ShareKeys, Shared) is { } reason)
            return Refuse(shares.Site, reason);
        if (!Advertised.ContainsKey(shares.Site))
            return Refuse(shares.Site, "it is not of this round");
        var receivers = shares.Shares.Select(share => share.To).ToHashSet(StringComparer.Ordinal);
        const int boxBytes = 2 * ShamirSharing.ShareBytes + KeySchedule.TagBytes;
        if (receivers.Count != shares.Shares.Count || !receivers.SetEquals(Graph!.HoldersOf(shares.Site).Where(holder => holder != shares.Site))
            || shares.Shares.Any(share => share.From != shares.Site || share.Box.Length != boxBytes)
            || shares.SelfMaskCommitment.Length != ShamirSharing.SecretBytes)
            return Refuse(shares.Site, "these are not one sealed pair of shares for each of its neighbours");
        return this with { Shared = Shared.Add(shares.Site, shares) };
    }

    /// <summary>Ends the stage; <see cref="Deliveries"/> are next.</summary>
    public SecureAggregationServer CloseSharing() =>
        CloseWith(SecureAggregationStage.ShareKeys, Shared.Count, "shared their keys") ?? this with { Stage = SecureAggregationStage.MaskedInput };

    /// <summary>To send when <see cref="SecureAggregationStage.ShareKeys"/> is closed: to each site that is still in, the shares made for it.</summary>
    public IReadOnlyList<ShareDelivery> Deliveries()
    {
        var byReceiver = Shared.Values.SelectMany(shares => shares.Shares).ToLookup(share => share.To, StringComparer.Ordinal);
        return [.. Shared.Keys.Select(site => new ShareDelivery(site, [.. byReceiver[site]]))];
    }

    /// <summary>A sum for the masked inputs of this round; its memory does not depend on the number of sites.</summary>
    /// <param name="slots">Sites that send at the same time, each with a buffer of a whole update.</param>
    public MaskedSum OpenSum(int slots = 2) => new(_plan.Elements, Shared.Keys, slots);

    /// <summary>Ends the stage with the sites whose inputs are in the sum, from <see cref="MaskedSum.Close"/>; <see cref="Survivors"/> is next.</summary>
    public SecureAggregationServer CloseMaskedInput(IReadOnlyCollection<string> completed)
    {
        if (completed.FirstOrDefault(site => !Shared.ContainsKey(site)) is { } stranger)
            throw new ArgumentException($"The sum has the input of {stranger}, which did not share its keys; it can never be unmasked.", nameof(completed));
        return CloseWith(SecureAggregationStage.MaskedInput, completed.Count, "sent their whole masked input") ?? this with
        {
            Stage = SecureAggregationStage.ConsistencyCheck,
            Survivors = new([.. completed.Order(StringComparer.Ordinal)]),
        };
    }

    /// <summary>Takes a signature under the set of survivors.</summary>
    public SecureAggregationServer Receive(SurvivorSignature signature)
    {
        if (WhyNot(signature.Site, SecureAggregationStage.ConsistencyCheck, Signed) is { } reason)
            return Refuse(signature.Site, reason);
        if (!Survivors!.Survivors.Contains(signature.Site, StringComparer.Ordinal))
            return Refuse(signature.Site, "it is no survivor");
        var statement = SignedStatements.Survivors(_planDigest, Graph!.Digest, Survivors.Survivors);
        return _identities.Verify(signature.Site, statement, signature.Signature)
            ? this with { Signed = Signed.Add(signature.Site, signature) }
            : Refuse(signature.Site, "its identity did not sign this set of survivors");
    }

    /// <summary>Ends the stage; <see cref="UnmaskRequest"/> is next.</summary>
    public SecureAggregationServer CloseConsistencyCheck() =>
        CloseWith(SecureAggregationStage.ConsistencyCheck, Signed.Count, "signed the set of survivors") ?? this with
        {
            Stage = SecureAggregationStage.Unmask,
            UnmaskRequest = new(Survivors!.Survivors, [.. Signed.Values]),
        };

    /// <summary>Takes the shares a site reveals.</summary>
    public SecureAggregationServer Receive(UnmaskShares shares)
    {
        if (WhyNot(shares.Site, SecureAggregationStage.Unmask, Revealed) is { } reason)
            return Refuse(shares.Site, reason);
        if (!Signed.ContainsKey(shares.Site))
            return Refuse(shares.Site, "it did not sign the set of survivors");
        var survivors = Survivors!.Survivors.ToHashSet(StringComparer.Ordinal);
        var peers = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (peer, kind, share) in shares.Shares)
        {
            var due = survivors.Contains(peer) ? ShareKind.SelfMask : ShareKind.MaskKey;
            if (!Shared.ContainsKey(peer) || !Graph!.Holds(shares.Site, peer) || !peers.Add(peer) || kind != due || share.Length != ShamirSharing.ShareBytes)
                return Refuse(shares.Site, $"its share of {peer} is not the one that is due");
        }
        return this with { Revealed = Revealed.Add(shares.Site, shares) };
    }

    /// <summary>Ends the stage and restores the secrets; <see cref="Masks"/> come off the sum next.</summary>
    public SecureAggregationServer CloseUnmasking()
    {
        if (CloseWith(SecureAggregationStage.Unmask, Revealed.Count, "revealed their shares") is { } failed)
            return failed;
        var restoration = new MaskRestoration(_planDigest, Graph!, _agreement, [.. Revealed.Values]);
        var survivors = Survivors!.Survivors;
        var masks = new List<RestoredMask>();
        foreach (var site in survivors)
        {
            if (restoration.SelfMask(Shared[site], out var reason) is not { } mask)
                return Fail(reason!);
            masks.Add(mask);
        }
        foreach (var site in Shared.Keys.Except(survivors, StringComparer.Ordinal))
        {
            if (restoration.PairMasks(site, survivors, out var reason) is not { } pairs)
                return Fail(reason!);
            masks.AddRange(pairs);
        }
        return this with { Stage = SecureAggregationStage.Done, Masks = masks };
    }

    private static ImmutableSortedDictionary<string, T> Empty<T>() => ImmutableSortedDictionary.Create<string, T>(StringComparer.Ordinal);

    private string? WhyNot<T>(string site, SecureAggregationStage stage, ImmutableSortedDictionary<string, T> received) =>
        Stage != stage ? $"the round is in stage {Stage}, this belongs to {stage}"
        : received.ContainsKey(site) ? "it has sent this already"
        : null;

    private SecureAggregationServer Refuse(string site, string reason) => this with { RefusedMessages = RefusedMessages.Add(new(site, Stage, reason)) };

    private SecureAggregationServer Fail(string reason) => this with
    {
        Stage = SecureAggregationStage.Failed,
        Failure = new(Stage, $"Secure round {_plan.Round} of {_plan.Run} ended without a sum: {reason}."),
    };

    private SecureAggregationServer? CloseWith(SecureAggregationStage stage, int count, string did)
    {
        Expect(stage);
        var least = Graph!.Graph.MinimumSurvivors;
        return count >= least ? null : Fail($"{count} sites {did}, at least {least} of {Graph.Count} are needed");
    }

    private void Expect(SecureAggregationStage stage)
    {
        if (Stage != stage)
            throw new InvalidOperationException($"The round is in stage {Stage}; {stage} cannot be closed.");
    }
}
