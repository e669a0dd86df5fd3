using Sora.Federation.Rounds;
using static Sora.Federation.Wire.Packing;
using static Sora.Federation.Wire.RoundElements;

namespace Sora.Federation.Wire;

/// <summary>A site's journal: each decision a MessagePack message that says itself what it is.</summary>
public static class SiteDecisionFormat
{
    /// <summary>Packs a decision.</summary>
    /// <exception cref="InvalidRoundMessageException">It holds something that <see cref="Read"/> would not take.</exception>
    public static byte[] Write(RoundSiteDecision decision) => decision switch
    {
        RoundTaken taken => Pack("round-taken:v1", taken, static (ref writer, made) =>
        {
            writer.WriteArrayHeader(1);
            WriteKey(ref writer, made.Round);
        }),
        UpdateReady ready => Pack("update-ready:v1", ready, static (ref writer, made) =>
        {
            writer.WriteArrayHeader(1);
            WriteOffer(ref writer, made.Offer);
        }),
        RoundLeft left => Pack("round-left:v1", left, static (ref writer, made) =>
        {
            writer.WriteArrayHeader(1);
            WriteKey(ref writer, made.Round);
        }),
        _ => throw new InvalidRoundMessageException($"A {decision.GetType().Name} has no format in {nameof(SiteDecisionFormat)}."),
    };

    /// <summary>Unpacks a decision.</summary>
    /// <exception cref="InvalidRoundMessageException">It is none that this release knows.</exception>
    public static RoundSiteDecision Read(ReadOnlyMemory<byte> decision) => Unpack(decision, static (kind, ref reader) => kind switch
    {
        "round-taken:v1" => ReadArray<RoundSiteDecision>(ref reader, 1, static (ref made) => new RoundTaken(ReadKey(ref made))),
        "update-ready:v1" => ReadArray(ref reader, 1, static (ref made) => new UpdateReady(ReadOffer(ref made))),
        "round-left:v1" => ReadArray(ref reader, 1, static (ref made) => new RoundLeft(ReadKey(ref made))),
        _ => Unknown<RoundSiteDecision>(kind),
    });
}
