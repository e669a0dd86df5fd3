using MessagePack;
using Sora.Federation.Rounds;
using static Sora.Federation.Wire.Elements;
using static Sora.Federation.Wire.Packing;

namespace Sora.Federation.Wire;

/// <summary>What messages of rounds, and the journal, have in common.</summary>
internal static class RoundElements
{
    // 4 TiB of parameters.
    private const long MaxParameters = 1L << 40;

    public static void WriteKey(ref MessagePackWriter writer, RoundKey key)
    {
        writer.WriteArrayHeader(2);
        WriteNumber(ref writer, key.Round, least: 1);
        WriteNumber(ref writer, key.Attempt, least: 1);
    }

    public static RoundKey ReadKey(ref MessagePackReader reader) =>
        ReadArray(ref reader, 2, static (ref key) => new RoundKey(ReadNumber(ref key, least: 1), ReadNumber(ref key, least: 1)));

    public static void WriteModel(ref MessagePackWriter writer, ModelVersion model)
    {
        writer.WriteArrayHeader(2);
        WriteNumber(ref writer, model.Number);
        WriteSha256(ref writer, model.Sha256);
    }

    public static ModelVersion ReadModel(ref MessagePackReader reader) =>
        ReadArray(ref reader, 2, static (ref model) => new ModelVersion(ReadNumber(ref model), ReadSha256(ref model)));

    public static void WriteId(ref MessagePackWriter writer, UpdateId id)
    {
        writer.WriteArrayHeader(3);
        WriteKey(ref writer, id.Round);
        WriteName(ref writer, id.Site);
        WriteSha256(ref writer, id.Sha256);
    }

    public static UpdateId ReadId(ref MessagePackReader reader) =>
        ReadArray(ref reader, 3, static (ref id) => new UpdateId(ReadKey(ref id), ReadName(ref id), ReadSha256(ref id)));

    public static void WriteOffer(ref MessagePackWriter writer, UpdateOffer offer)
    {
        writer.WriteArrayHeader(4);
        WriteId(ref writer, offer.Id);
        WriteNumber(ref writer, offer.Bytes, most: long.MaxValue);
        writer.Write(offer.Weight);
        writer.Write(offer.Loss);
    }

    // Whether weight and loss make sense is the coordinator's to judge, which can tell the site.
    public static UpdateOffer ReadOffer(ref MessagePackReader reader) =>
        ReadArray(ref reader, 4, static (ref offer) => new UpdateOffer(ReadId(ref offer), ReadLong(ref offer), offer.ReadDouble(), offer.ReadDouble()));

    public static void WriteAccepted(ref MessagePackWriter writer, AcceptedUpdate update)
    {
        writer.WriteArrayHeader(5);
        WriteId(ref writer, update.Id);
        writer.Write(update.Weight);
        writer.Write(update.Loss);
        WriteNumber(ref writer, update.Staleness);
        writer.Write(update.Seconds);
    }

    public static AcceptedUpdate ReadAccepted(ref MessagePackReader reader) => ReadArray(ref reader, 5, static (ref update) =>
        new AcceptedUpdate(ReadId(ref update), update.ReadDouble(), update.ReadDouble(), ReadNumber(ref update), update.ReadDouble()));

    public static void WriteChunks(ref MessagePackWriter writer, ChunkLayout chunks)
    {
        Require(chunks);
        writer.WriteArrayHeader(2);
        writer.Write(chunks.Parameters);
        writer.Write(chunks.ChunkParameters);
    }

    public static ChunkLayout ReadChunks(ref MessagePackReader reader) =>
        Require(ReadArray(ref reader, 2, static (ref chunks) => new ChunkLayout(chunks.ReadInt64(), chunks.ReadInt32())));

    // Who cuts by it divides by the one, and counts the chunks in an int.
    private static ChunkLayout Require(ChunkLayout chunks) =>
        chunks is { Parameters: >= 1 and <= MaxParameters, ChunkParameters: >= 1 } && chunks.Parameters / chunks.ChunkParameters < int.MaxValue
            ? chunks
            : throw new InvalidRoundMessageException($"{chunks.Parameters} parameters cannot be cut into chunks of {chunks.ChunkParameters}.");

    public static void WriteCohort(ref MessagePackWriter writer, Cohort cohort)
    {
        writer.WriteArrayHeader(3);
        WriteNames(ref writer, cohort.Sites, int.MaxValue);
        WriteNumber(ref writer, cohort.Target);
        WriteNumber(ref writer, cohort.Quorum);
    }

    public static Cohort ReadCohort(ref MessagePackReader reader) =>
        ReadArray(ref reader, 3, static (ref cohort) => new Cohort(ReadNames(ref cohort, int.MaxValue), ReadNumber(ref cohort), ReadNumber(ref cohort)));
}
