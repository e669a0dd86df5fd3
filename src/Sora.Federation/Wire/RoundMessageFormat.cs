using MessagePack;
using Sora.Federation.Policies;
using Sora.Federation.Rounds;
using static Sora.Federation.Wire.Elements;
using static Sora.Federation.Wire.Packing;
using static Sora.Federation.Wire.RoundElements;

namespace Sora.Federation.Wire;

/// <summary>
/// What coordinator and site say to each other of rounds, as MessagePack: the content of a signed site word. The keys, shares and
/// signatures of secure rounds are <see cref="SecureMessageFormat"/>'s.
/// </summary>
public static class RoundMessageFormat
{
    /// <summary>Whether these bytes begin like a message that this release reads with <see cref="ReadToSite"/> or <see cref="ReadFromSite"/>.</summary>
    public static bool Knows(ReadOnlyMemory<byte> message) => KindOf(message) is
        "round-announced:v1" or "stage-opened:v1" or "upload-from:v1" or "update-acknowledged:v1" or "update-refused:v1" or "round-over:v1" or "evaluate-model:v1" or "dismissed:v1"
        or "site-hello:v1" or "round-accepted:v1" or "round-refused:v1" or "round-failed:v1" or "stage-answered:v1" or "update-offered:v1" or "model-evaluated:v1" or "site-draining:v1";

    /// <summary>What a site's policy calls a message.</summary>
    /// <param name="message">The message.</param>
    /// <param name="secure">Whether the run's updates are masked: an offer does not tell.</param>
    public static string TypeOf(FromSite message, bool secure = false) => message switch
    {
        SiteHello => SiteMessages.Join,
        SiteDraining => SiteMessages.Leave,
        RoundAccepted => SiteMessages.Heartbeat,
        RoundRefused or RoundFailed => SiteMessages.Refusal,
        StageAnswered { Stage: SecureStage.AdvertiseKeys } => SiteMessages.Keys,
        StageAnswered { Stage: SecureStage.ShareKeys } => SiteMessages.Shares,
        StageAnswered { Stage: SecureStage.MaskedInput } => SiteMessages.MaskedUpdate,
        StageAnswered { Stage: SecureStage.Consistency } => SiteMessages.Consistency,
        StageAnswered { Stage: SecureStage.Unmask } => SiteMessages.Unmask,
        UpdateOffered => secure ? SiteMessages.MaskedUpdate : SiteMessages.Update,
        ModelEvaluated => SiteMessages.Metrics,
        _ => throw new InvalidRoundMessageException($"A site's policy has no name for a {message.GetType().Name}."),
    };

    /// <summary>The round a message is about, for its signature; 0: none.</summary>
    public static int RoundOf(FromSite message) => message switch
    {
        RoundAccepted accepted => accepted.Round.Round,
        RoundRefused refused => refused.Round.Round,
        RoundFailed failed => failed.Round.Round,
        StageAnswered answered => answered.Round.Round,
        UpdateOffered offered => offered.Offer.Id.Round.Round,
        ModelEvaluated evaluated => evaluated.Version,
        _ => 0,
    };

    /// <summary>The round a message is about, for its signature; 0: none.</summary>
    public static int RoundOf(ToSite message) => message switch
    {
        RoundAnnounced announced => announced.Round.Round,
        StageOpened opened => opened.Round.Round,
        UploadFrom upload => upload.Id.Round.Round,
        UpdateAcknowledged acknowledged => acknowledged.Id.Round.Round,
        UpdateRefused refused => refused.Id.Round.Round,
        RoundOver over => over.Round.Round,
        EvaluateModel evaluate => evaluate.Model.Number,
        _ => 0,
    };

    /// <summary>Packs a message to a site. Texts for people are cut to 4096 characters.</summary>
    /// <exception cref="InvalidRoundMessageException">It holds something that may not travel.</exception>
    public static byte[] Write(ToSite message) => message switch
    {
        RoundAnnounced announced => Pack("round-announced:v1", announced, WriteAnnounced),
        StageOpened opened => Pack("stage-opened:v1", opened, WriteStage),
        UploadFrom upload => Pack("upload-from:v1", upload, static (ref writer, said) =>
        {
            Begin(ref writer, 3, said.Run);
            WriteId(ref writer, said.Id);
            WriteNumber(ref writer, said.NextChunk);
        }),
        UpdateAcknowledged acknowledged => Pack("update-acknowledged:v1", acknowledged, static (ref writer, said) =>
        {
            Begin(ref writer, 2, said.Run);
            WriteId(ref writer, said.Id);
        }),
        UpdateRefused refused => Pack("update-refused:v1", refused, static (ref writer, said) =>
        {
            Begin(ref writer, 3, said.Run);
            WriteId(ref writer, said.Id);
            WriteReason(ref writer, said.Reason);
        }),
        RoundOver over => Pack("round-over:v1", over, static (ref writer, said) =>
        {
            Begin(ref writer, 3, said.Run);
            WriteKey(ref writer, said.Round);
            WriteReason(ref writer, said.Reason);
        }),
        EvaluateModel evaluate => Pack("evaluate-model:v1", evaluate, static (ref writer, said) =>
        {
            Begin(ref writer, 2, said.Run);
            WriteModel(ref writer, said.Model);
        }),
        Dismissed dismissed => Pack("dismissed:v1", dismissed, static (ref writer, said) =>
        {
            Begin(ref writer, 3, said.Run);
            WriteReason(ref writer, said.Reason);
            WriteNumber(ref writer, said.ExitCode, most: byte.MaxValue);
        }),
        _ => throw new InvalidRoundMessageException($"A {message.GetType().Name} has no format in {nameof(RoundMessageFormat)}."),
    };

    /// <summary>Packs a message of a site. Texts for people are cut to 4096 characters.</summary>
    /// <exception cref="InvalidRoundMessageException">It holds something that may not travel.</exception>
    public static byte[] Write(FromSite message) => message switch
    {
        SiteHello hello => Pack("site-hello:v1", hello, WriteHello),
        RoundAccepted accepted => Pack("round-accepted:v1", accepted, static (ref writer, said) =>
        {
            Begin(ref writer, 2, said.Run);
            WriteKey(ref writer, said.Round);
        }),
        RoundRefused refused => Pack("round-refused:v1", refused, static (ref writer, said) =>
        {
            Begin(ref writer, 4, said.Run);
            WriteKey(ref writer, said.Round);
            WriteReason(ref writer, said.Reason);
            writer.Write(said.ForJob);
        }),
        RoundFailed failed => Pack("round-failed:v1", failed, static (ref writer, said) =>
        {
            Begin(ref writer, 3, said.Run);
            WriteKey(ref writer, said.Round);
            WriteReason(ref writer, said.Reason);
        }),
        StageAnswered answered => Pack("stage-answered:v1", answered, static (ref writer, said) =>
        {
            Begin(ref writer, 3, said.Run);
            WriteKey(ref writer, said.Round);
            WriteNumber(ref writer, (int)said.Stage, most: (int)SecureStage.Unmask);
        }),
        UpdateOffered offered => Pack("update-offered:v1", offered, static (ref writer, said) =>
        {
            Begin(ref writer, 2, said.Run);
            WriteOffer(ref writer, said.Offer);
        }),
        ModelEvaluated evaluated => Pack("model-evaluated:v1", evaluated, static (ref writer, said) =>
        {
            Begin(ref writer, 4, said.Run);
            WriteNumber(ref writer, said.Version);
            writer.Write(said.Loss);
            writer.Write(said.Examples);
        }),
        SiteDraining draining => Pack("site-draining:v1", draining, static (ref writer, said) => Begin(ref writer, 1, said.Run)),
        _ => throw new InvalidRoundMessageException($"A {message.GetType().Name} has no format in {nameof(RoundMessageFormat)}."),
    };

    /// <summary>Unpacks a message of a coordinator.</summary>
    /// <exception cref="InvalidRoundMessageException">It is none that this release knows.</exception>
    public static ToSite ReadToSite(ReadOnlyMemory<byte> message) => Unpack(message, static (kind, ref reader) => kind switch
    {
        "round-announced:v1" => ReadArray<ToSite>(ref reader, 8, ReadAnnounced),
        "stage-opened:v1" => ReadArray<ToSite>(ref reader, 5, static (ref said) =>
            new StageOpened(ReadName(ref said), ReadKey(ref said), ReadStage(ref said), ReadNames(ref said), ReadDuration(ref said))),
        "upload-from:v1" => ReadArray(ref reader, 3, static (ref said) => new UploadFrom(ReadName(ref said), ReadId(ref said), ReadNumber(ref said))),
        "update-acknowledged:v1" => ReadArray(ref reader, 2, static (ref said) => new UpdateAcknowledged(ReadName(ref said), ReadId(ref said))),
        "update-refused:v1" => ReadArray(ref reader, 3, static (ref said) => new UpdateRefused(ReadName(ref said), ReadId(ref said), ReadReason(ref said))),
        "round-over:v1" => ReadArray(ref reader, 3, static (ref said) => new RoundOver(ReadName(ref said), ReadKey(ref said), ReadReason(ref said))),
        "evaluate-model:v1" => ReadArray(ref reader, 2, static (ref said) => new EvaluateModel(ReadName(ref said), ReadModel(ref said))),
        "dismissed:v1" => ReadArray(ref reader, 3, static (ref said) => new Dismissed(ReadName(ref said), ReadReason(ref said), ReadNumber(ref said, most: byte.MaxValue))),
        _ => Unknown<ToSite>(kind),
    });

    /// <summary>Unpacks a message of a site.</summary>
    /// <exception cref="InvalidRoundMessageException">It is none that this release knows.</exception>
    public static FromSite ReadFromSite(ReadOnlyMemory<byte> message) => Unpack(message, static (kind, ref reader) => kind switch
    {
        "site-hello:v1" => ReadArray<FromSite>(ref reader, 6, ReadHello),
        "round-accepted:v1" => ReadArray(ref reader, 2, static (ref said) => new RoundAccepted(ReadName(ref said), ReadKey(ref said))),
        "round-refused:v1" => ReadArray(ref reader, 4, static (ref said) =>
            new RoundRefused(ReadName(ref said), ReadKey(ref said), ReadReason(ref said), said.ReadBoolean())),
        "round-failed:v1" => ReadArray(ref reader, 3, static (ref said) => new RoundFailed(ReadName(ref said), ReadKey(ref said), ReadReason(ref said))),
        "stage-answered:v1" => ReadArray(ref reader, 3, static (ref said) => new StageAnswered(ReadName(ref said), ReadKey(ref said), ReadStage(ref said))),
        "update-offered:v1" => ReadArray(ref reader, 2, static (ref said) => new UpdateOffered(ReadName(ref said), ReadOffer(ref said))),
        "model-evaluated:v1" => ReadArray(ref reader, 4, static (ref said) =>
            new ModelEvaluated(ReadName(ref said), ReadNumber(ref said), said.ReadDouble(), said.ReadDouble())),
        "site-draining:v1" => ReadArray(ref reader, 1, static (ref said) => new SiteDraining(ReadName(ref said))),
        _ => Unknown<FromSite>(kind),
    });

    private static void Begin(ref MessagePackWriter writer, int elements, string run)
    {
        writer.WriteArrayHeader(elements);
        WriteName(ref writer, run);
    }

    private static void WriteAnnounced(ref MessagePackWriter writer, RoundAnnounced said)
    {
        Begin(ref writer, 8, said.Run);
        WriteKey(ref writer, said.Round);
        WriteModel(ref writer, said.Model);
        WriteNumber(ref writer, said.LocalSteps);
        WriteNumber(ref writer, said.LocalEpochs);
        WriteDuration(ref writer, said.Deadline);
        WriteChunks(ref writer, said.Chunks);
        writer.Write(said.Secure);
    }

    private static RoundAnnounced ReadAnnounced(ref MessagePackReader reader) => new(
        ReadName(ref reader), ReadKey(ref reader), ReadModel(ref reader), ReadNumber(ref reader), ReadNumber(ref reader), ReadDuration(ref reader),
        ReadChunks(ref reader), reader.ReadBoolean());

    private static void WriteStage(ref MessagePackWriter writer, StageOpened said)
    {
        Begin(ref writer, 5, said.Run);
        WriteKey(ref writer, said.Round);
        WriteNumber(ref writer, (int)said.Stage, most: (int)SecureStage.Unmask);
        WriteNames(ref writer, said.Participants);
        WriteDuration(ref writer, said.Deadline);
    }

    private static SecureStage ReadStage(ref MessagePackReader reader) => (SecureStage)ReadNumber(ref reader, most: (int)SecureStage.Unmask);

    private static void WriteHello(ref MessagePackWriter writer, SiteHello said)
    {
        Begin(ref writer, 6, said.Run);
        WriteName(ref writer, said.Site);
        WriteName(ref writer, said.Incarnation);
        WriteReason(ref writer, said.Unfit);
        if (said.WorkingOn is { } key)
            WriteKey(ref writer, key);
        else
            writer.WriteNil();
        writer.Write(said.Draining);
    }

    private static SiteHello ReadHello(ref MessagePackReader reader) => new(
        ReadName(ref reader), ReadName(ref reader), ReadName(ref reader), ReadReason(ref reader), reader.TryReadNil() ? null : ReadKey(ref reader), reader.ReadBoolean());
}
