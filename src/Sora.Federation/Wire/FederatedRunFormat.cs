using MessagePack;
using Sora.Federation.Rounds;
using static Sora.Federation.Wire.Elements;
using static Sora.Federation.Wire.Packing;
using static Sora.Federation.Wire.RoundElements;

namespace Sora.Federation.Wire;

/// <summary>A federated run, as it is submitted and as sites are told of it.</summary>
public static class FederatedRunFormat
{
    private const string Kind = "federated-run:v1";

    /// <summary>Packs a run.</summary>
    /// <exception cref="InvalidRoundMessageException">It holds something that may not travel.</exception>
    public static byte[] Write(FederatedRun run) => Pack(Kind, run, WriteRun);

    /// <summary>Unpacks a run, whose settings must make sense.</summary>
    /// <exception cref="InvalidRoundMessageException">It is none, or its settings contradict each other.</exception>
    public static FederatedRun Read(ReadOnlyMemory<byte> message)
    {
        var run = Unpack(message, static (kind, ref reader) => kind == Kind ? ReadRun(ref reader) : Unknown<FederatedRun>(kind));
        return FederationValidation.Check(run.Settings) is { Count: > 0 } errors
            ? throw new InvalidRoundMessageException($"Run {run.Run} cannot be carried out: {string.Join(' ', errors)}")
            : run;
    }

    internal static void WriteRun(ref MessagePackWriter writer, FederatedRun run)
    {
        writer.WriteArrayHeader(5);
        WriteName(ref writer, run.Run);
        writer.Write(run.Seed);
        WriteModel(ref writer, run.Initial);
        WriteChunks(ref writer, run.Chunks);
        writer.Write(FederationSettingsJson.Write(run.Settings));
    }

    // Not validated: what an older release found right stays readable in its journal.
    internal static FederatedRun ReadRun(ref MessagePackReader reader) => ReadArray(ref reader, 5, static (ref run) =>
        new FederatedRun(ReadName(ref run), run.ReadInt64(), ReadModel(ref run), ReadChunks(ref run), FederationSettingsJson.Read(ReadText(ref run))));
}
