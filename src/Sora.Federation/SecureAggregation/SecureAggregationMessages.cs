using Sora.Protocol.Jobs;

namespace Sora.Federation.SecureAggregation;

/// <summary>Stage 0, site to coordinator: the fresh public keys of a site, signed with its identity.</summary>
public sealed record AdvertisedKeys(string Site, byte[] EncryptionKey, byte[] MaskKey, byte[] Signature);

/// <summary>Coordinator to sites: all that advertised in time, ordered by name. The graph follows from it.</summary>
public sealed record KeyRoster(IReadOnlyList<AdvertisedKeys> Sites);

/// <summary>The shares of one site for another, encrypted.</summary>
public sealed record SealedShares(string From, string To, byte[] Box);

/// <summary>Stage 1, site to coordinator: a commitment to its own mask, and shares for each neighbour.</summary>
public sealed record KeyShares(string Site, byte[] SelfMaskCommitment, IReadOnlyList<SealedShares> Shares);

/// <summary>Coordinator to a site: the shares its neighbours made for it. A neighbour without is out of the round.</summary>
public sealed record ShareDelivery(string Site, IReadOnlyList<SealedShares> Shares);

/// <summary>Stage 2, site to coordinator: a part of its masked input, in order. The last one has the weight at its end.</summary>
public sealed record MaskedChunk(string Site, long First, ReadOnlyMemory<uint> Values);

/// <summary>Coordinator to the survivors: whose input is complete, ordered by name.</summary>
public sealed record SurvivorSet(IReadOnlyList<string> Survivors);

/// <summary>Stage 3, site to coordinator: its identity's signature under the set of survivors it was told.</summary>
public sealed record SurvivorSignature(string Site, byte[] Signature);

/// <summary>Coordinator to the signers: the proof that all were told the same set.</summary>
public sealed record UnmaskRequest(IReadOnlyList<string> Survivors, IReadOnlyList<SurvivorSignature> Signatures);

/// <summary>Which secret a revealed share is of.</summary>
public enum ShareKind
{
    /// <summary>The peer survived: the mask it put on alone.</summary>
    SelfMask,
    /// <summary>The peer dropped out: its mask key.</summary>
    MaskKey,
}

/// <summary>A share of a peer's secret, in the clear.</summary>
public sealed record RevealedShare(string Peer, ShareKind Kind, byte[] Share);

/// <summary>Stage 4, site to coordinator: for each peer exactly one share.</summary>
public sealed record UnmaskShares(string Site, IReadOnlyList<RevealedShare> Shares);

/// <summary>A site refuses to go on with a secure round; its secrets of the round are wiped.</summary>
public sealed class SecureAggregationRefusedException(string message) : SoraException(message, Sora.Protocol.Jobs.ExitCode.Failure);
