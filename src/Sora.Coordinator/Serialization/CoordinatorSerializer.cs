using System.Buffers;
using System.Runtime.Serialization;
using System.Text.Json;
using Akka.Actor;
using Akka.Configuration;
using Akka.Serialization;
using Google.Protobuf;
using MessagePack;
using Sora.Coordinator.Federations;
using Sora.Coordinator.Runs;
using Sora.Coordinator.Workers;
using Sora.Federation.Rounds;
using Sora.Federation.Wire;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Serialization;

/// <summary>
/// Everything coordinators write to the journal or to each other: one manifest a type, each naming its version, no type
/// names on the wire. A message is a MessagePack array; readers skip elements that a later release appended.
/// </summary>
internal sealed class CoordinatorSerializer(ExtendedActorSystem system) : SerializerWithStringManifest(system)
{
    public static readonly Type[] Bindings = [typeof(RunDecision), typeof(RoundDecision), typeof(ICoordinatorMessage)];

    public override int Identifier => 7301;

    public override string Manifest(object o) => o switch
    {
        RunDecision decision => DecisionFormat.Manifest(decision),
        RoundDecision decision => RoundDecisionFormat.Manifest(decision),
        SubmitFederation => "submit-federation:v1",
        FederationHome => "federation-home:v1",
        FederationStatus => "federation-status:v1",
        OpenFederation => "open-federation:v1",
        CloseFederation => "close-federation:v1",
        SubmitRun => "submit-run:v2",
        WatchRun => "watch-run:v1",
        WakeRun => "wake-run:v1",
        OfferWorker => "offer-worker:v2",
        StillLinked => "still-linked:v1",
        ForwardFromWorker => "from-worker:v2",
        ReportLostWorker => "lost-worker:v2",
        ReportSilentWorker => "silent-worker:v1",
        StopRun => "stop-run:v1",
        QueryRun => "query-run:v1",
        RunStatus => "run-status:v1",
        RunHappened => "run-happened:v1",
        WatchRefused => "watch-refused:v1",
        DeliverToWorker => "to-worker:v1",
        CloseStream => "close-stream:v1",
        ProveAlive => "prove-alive:v1",
        ProvedAlive => "proved-alive:v1",
        TurnAway => "turn-away:v1",
        OpenRun => "open-run:v1",
        CloseRun => "close-run:v1",
        _ => throw new SerializationException($"{o.GetType()} has no manifest in {nameof(CoordinatorSerializer)}."),
    };

    public override byte[] ToBinary(object obj)
    {
        var buffer = new ArrayBufferWriter<byte>();
        var writer = new MessagePackWriter(buffer);
        switch (obj)
        {
            case RunDecision decision: DecisionFormat.Write(ref writer, decision); break;
            case RoundDecision decision: RoundDecisionFormat.Write(ref writer, decision); break;
            case SubmitFederation submit:
                writer.WriteArrayHeader(3);
                writer.Write(FederatedRunFormat.Write(submit.Federated));
                writer.Write(submit.JobJson);
                writer.Write(submit.OutputDir);
                break;
            case FederationHome home: WriteStrings(ref writer, home.JobJson, home.OutputDir); break;
            case FederationStatus status:
                writer.WriteArrayHeader(5);
                writer.Write(status.Run);
                writer.Write((int)status.Phase);
                writer.Write(status.Round);
                writer.Write(status.ModelSha256);
                writer.Write(status.Outcome);
                break;
            case OpenFederation open: WriteStrings(ref writer, open.Run); break;
            case CloseFederation close:
                writer.WriteArrayHeader(4);
                writer.Write(close.Run);
                writer.Write(close.IsOver);
                writer.Write(close.Reason);
                writer.Write(close.ExitCode);
                break;
            case SubmitRun submit: DecisionFormat.WriteSpec(ref writer, submit.Spec); break;
            case WatchRun watch: WriteStrings(ref writer, watch.Run); break;
            case WakeRun wake: WriteStrings(ref writer, wake.Run); break;
            case OfferWorker offer:
                writer.WriteArrayHeader(3);
                writer.Write(offer.Run);
                writer.Write(offer.Connection);
                writer.Write(offer.Hello.ToByteArray());
                break;
            case StillLinked linked: WriteStrings(ref writer, linked.Run, linked.Worker, linked.Connection); break;
            case ForwardFromWorker forward:
                writer.WriteArrayHeader(4);
                writer.Write(forward.Run);
                writer.Write(forward.Worker);
                writer.Write(forward.Connection);
                writer.Write(forward.Message.ToByteArray());
                break;
            case ReportLostWorker lost: WriteStrings(ref writer, lost.Run, lost.Worker, lost.Connection, lost.Reason); break;
            case ReportSilentWorker silent: WriteStrings(ref writer, silent.Run, silent.Worker, silent.Connection); break;
            case StopRun stop: WriteStrings(ref writer, stop.Run, stop.Reason); break;
            case QueryRun query: WriteStrings(ref writer, query.Run); break;
            case RunStatus status:
                writer.WriteArrayHeader(5);
                writer.Write(status.Run);
                writer.Write((int)status.Phase);
                writer.Write(status.LastGeneration);
                writer.Write(status.CheckpointStep ?? -1);
                writer.Write(status.CheckpointPath);
                break;
            case RunHappened happened: WriteStrings(ref writer, happened.Run, RoundReportJson.Write(happened.Event)); break;
            case WatchRefused refused: WriteStrings(ref writer, refused.Run, refused.Reason); break;
            case DeliverToWorker deliver:
                writer.WriteArrayHeader(1);
                writer.Write(deliver.Message.ToByteArray());
                break;
            case CloseStream or ProveAlive: WriteStrings(ref writer); break;
            case ProvedAlive proved: WriteStrings(ref writer, proved.Worker, proved.Connection); break;
            case TurnAway away:
                writer.WriteArrayHeader(2);
                writer.Write(away.Reason);
                writer.Write(away.ExitCode);
                break;
            case OpenRun open:
                writer.WriteArrayHeader(4);
                writer.Write(open.Run);
                writer.Write(open.Lacking);
                writer.Write(open.CorpusHash);
                writer.Write(open.CorpusDir);
                break;
            case CloseRun close: WriteStrings(ref writer, close.Run); break;
            default:
                throw new SerializationException($"{obj.GetType()} has no format in {nameof(CoordinatorSerializer)}.");
        }
        writer.Flush();
        return buffer.WrittenSpan.ToArray();
    }

    public override object FromBinary(byte[] bytes, string manifest)
    {
        var reader = new MessagePackReader(bytes);
        if (manifest == "submit-run:v2")
            return new SubmitRun(DecisionFormat.ReadSpec(ref reader));
        if (DecisionFormat.Knows(manifest))
            return DecisionFormat.Read(ref reader, manifest);
        if (RoundDecisionFormat.Knows(manifest))
            return RoundDecisionFormat.Read(manifest, ref reader);
        reader.ReadArrayHeader();
        // Arguments are read in the order they are written here, which is the order of ToBinary.
        return manifest switch
        {
            "submit-federation:v1" => new SubmitFederation(FederatedRunFormat.Read(Bytes(ref reader).ToArray()), Text(ref reader), Text(ref reader)),
            "federation-home:v1" => new FederationHome(Text(ref reader), Text(ref reader)),
            "federation-status:v1" => new FederationStatus(Text(ref reader), (RoundPhase)reader.ReadInt32(), reader.ReadInt32(), Text(ref reader), Text(ref reader)),
            "open-federation:v1" => new OpenFederation(Text(ref reader)),
            "close-federation:v1" => new CloseFederation(Text(ref reader), reader.ReadBoolean(), Text(ref reader), reader.ReadInt32()),
            "watch-run:v1" => new WatchRun(Text(ref reader)),
            "wake-run:v1" => new WakeRun(Text(ref reader)),
            "offer-worker:v2" => new OfferWorker(Text(ref reader), Text(ref reader), Hello.Parser.ParseFrom(Bytes(ref reader))),
            "still-linked:v1" => new StillLinked(Text(ref reader), Text(ref reader), Text(ref reader)),
            "from-worker:v2" => new ForwardFromWorker(Text(ref reader), Text(ref reader), Text(ref reader), FromWorker.Parser.ParseFrom(Bytes(ref reader))),
            "lost-worker:v2" => new ReportLostWorker(Text(ref reader), Text(ref reader), Text(ref reader), Text(ref reader)),
            "silent-worker:v1" => new ReportSilentWorker(Text(ref reader), Text(ref reader), Text(ref reader)),
            "stop-run:v1" => new StopRun(Text(ref reader), Text(ref reader)),
            "query-run:v1" => new QueryRun(Text(ref reader)),
            "run-status:v1" => new RunStatus(Text(ref reader), (RunPhase)reader.ReadInt32(), reader.ReadInt64(), Optional(reader.ReadInt64()), reader.ReadString()),
            "run-happened:v1" => new RunHappened(Text(ref reader), Event(Text(ref reader))),
            "watch-refused:v1" => new WatchRefused(Text(ref reader), Text(ref reader)),
            "to-worker:v1" => new DeliverToWorker(FromCoordinator.Parser.ParseFrom(Bytes(ref reader))),
            "close-stream:v1" => CloseStream.Instance,
            "prove-alive:v1" => ProveAlive.Instance,
            "proved-alive:v1" => new ProvedAlive(Text(ref reader), Text(ref reader)),
            "turn-away:v1" => new TurnAway(Text(ref reader), reader.ReadInt32()),
            "open-run:v1" => new OpenRun(Text(ref reader), reader.ReadInt32(), Text(ref reader), Text(ref reader)),
            "close-run:v1" => new CloseRun(Text(ref reader)),
            _ => throw new SerializationException($"There is '{manifest}' in the journal or from another coordinator, which this release of sora does not know. It was written by a later one; use that."),
        };
    }

    private static void WriteStrings(ref MessagePackWriter writer, params ReadOnlySpan<string> values)
    {
        writer.WriteArrayHeader(values.Length);
        foreach (var value in values)
            writer.Write(value);
    }

    private static string Text(ref MessagePackReader reader) => reader.ReadString() ?? "";

    private static long? Optional(long value) => value < 0 ? null : value;

    private static RunEvent Event(string line)
    {
        try
        {
            return RoundReportJson.Read(line);
        }
        catch (JsonException)
        {
            return new RunWarning("Another coordinator, of a later release, tells something that this one cannot show.");
        }
    }

    private static ReadOnlySequence<byte> Bytes(ref MessagePackReader reader) => reader.ReadBytes() ?? ReadOnlySequence<byte>.Empty;
}

/// <summary>Takes the place of Akka's default JSON serializer, which would create whatever type a message names.</summary>
internal sealed class RefusingSerializer : Serializer
{
    // Akka makes it by reflection with these two.
    public RefusingSerializer(ExtendedActorSystem system, Config _) : base(system) { }

    public override int Identifier => 7300;

    public override bool IncludeManifest => false;

    public override byte[] ToBinary(object obj) => throw new SerializationException($"{obj.GetType()} has no serializer and may not travel.");

    public override object FromBinary(byte[] bytes, Type type) => throw new SerializationException("A message without a known serializer arrived and was refused.");
}
