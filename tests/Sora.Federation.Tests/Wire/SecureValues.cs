using CsCheck;
using Sora.Federation.Rounds;
using Sora.Federation.SecureAggregation;
using Sora.Federation.Wire;

namespace Sora.Federation.Tests.Wire;

/// <summary>Any message of secure aggregation.</summary>
internal static class SecureValues
{
    private static readonly Gen<byte[]> Bytes = Gen.Byte.Array[0, 256];

    private static readonly Gen<AdvertisedKeys> Keys =
        Gen.Select(WireValues.Name, Bytes, Bytes, Bytes).Select((site, encryption, mask, signature) => new AdvertisedKeys(site, encryption, mask, signature));

    private static readonly Gen<SealedShares> Sealed = Gen.Select(WireValues.Name, WireValues.Name, Bytes).Select((from, to, box) => new SealedShares(from, to, box));

    private static readonly Gen<SurvivorSignature> Signature = Gen.Select(WireValues.Name, Bytes).Select((site, signature) => new SurvivorSignature(site, signature));

    private static readonly Gen<RevealedShare> Revealed =
        Gen.Select(WireValues.Name, Gen.Enum<ShareKind>(), Bytes).Select((peer, kind, share) => new RevealedShare(peer, kind, share));

    public static Gen<SecureAggregationPlan> Plan { get; } =
        from session in Gen.Byte.Array[SecureAggregationPlan.SessionIdBytes]
        from run in WireValues.Name
        from round in Gen.Int[1, int.MaxValue]
        from parameters in Gen.Int[1, Array.MaxLength - 1]
        from sites in Gen.Int[2, 1000]
        from range in Gen.Float[0.001f, 1000f]
        from weight in Gen.Int[1, 1_000_000]
        from rate in Gen.Double[0, 0.3]
        from adversary in Gen.OneOfConst(AdversaryClass.CuriousServer, AdversaryClass.SemiMaliciousServer)
        select new SecureAggregationPlan(session, run, round, parameters, sites, new FixedPointEncoding(sites, range, weight), new ThreatModel(rate, rate, adversary));

    public static Gen<object> Message { get; } = Gen.OneOf(
        Plan.Select(plan => (object)plan),
        Keys.Select(keys => (object)keys),
        Keys.Array[0, 5].Select(all => (object)new KeyRoster(all)),
        Gen.Select(WireValues.Name, Bytes, Sealed.Array[0, 5]).Select((site, commitment, shares) => (object)new KeyShares(site, commitment, shares)),
        Gen.Select(WireValues.Name, Sealed.Array[0, 5]).Select((site, shares) => (object)new ShareDelivery(site, shares)),
        Gen.Select(WireValues.Name, WireValues.Long, Gen.UInt.Array[0, 100]).Select((site, first, values) => (object)new MaskedChunk(site, first, values)),
        WireValues.Names.Select(names => (object)new SurvivorSet(names)),
        Signature.Select(signature => (object)signature),
        Gen.Select(WireValues.Names, Signature.Array[0, 5]).Select((names, signatures) => (object)new UnmaskRequest(names, signatures)),
        Gen.Select(WireValues.Name, Revealed.Array[0, 5]).Select((site, shares) => (object)new UnmaskShares(site, shares)));

    public static byte[] Write(RoundKey round, object message) => message switch
    {
        SecureAggregationPlan plan => SecureMessageFormat.Write(round, plan),
        AdvertisedKeys keys => SecureMessageFormat.Write(round, keys),
        KeyRoster roster => SecureMessageFormat.Write(round, roster),
        KeyShares shares => SecureMessageFormat.Write(round, shares),
        ShareDelivery delivery => SecureMessageFormat.Write(round, delivery),
        MaskedChunk chunk => SecureMessageFormat.Write(round, chunk),
        SurvivorSet survivors => SecureMessageFormat.Write(round, survivors),
        SurvivorSignature signature => SecureMessageFormat.Write(round, signature),
        UnmaskRequest request => SecureMessageFormat.Write(round, request),
        _ => SecureMessageFormat.Write(round, (UnmaskShares)message),
    };
}
