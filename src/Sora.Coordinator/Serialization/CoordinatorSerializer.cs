using System.Buffers;
using System.Runtime.Serialization;
using Akka.Actor;
using Akka.Configuration;
using Akka.Serialization;
using Google.Protobuf;
using MessagePack;
using Sora.Coordinator.Runs;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;

namespace Sora.Coordinator.Serialization;

/// <summary>
/// Everything coordinators write to the journal or to each other: one manifest a type, each naming its version, no type
/// names on the wire. A message is a MessagePack array; readers skip elements that a later release appended.
/// </summary>
internal sealed class CoordinatorSerializer(ExtendedActorSystem system) : SerializerWithStringManifest(system)
{
    public static readonly Type[] Bindings = [typeof(RunDecision), typeof(ICoordinatorMessage)];

    public override int Identifier => 7301;

    public override string Manifest(object o) => o switch
    {
        RunDecision decision => DecisionFormat.Manifest(decision),
        SubmitRun => "submit-run:v1",
        OfferWorker => "offer-worker:v1",
        ForwardFromWorker => "from-worker:v1",
        ReportLostWorker => "lost-worker:v1",
        StopRun => "stop-run:v1",
        QueryRun => "query-run:v1",
        RunStatus => "run-status:v1",
        DeliverToWorker => "to-worker:v1",
        _ => throw new SerializationException($"{o.GetType()} has no manifest in {nameof(CoordinatorSerializer)}."),
    };

    public override byte[] ToBinary(object obj)
    {
        var buffer = new ArrayBufferWriter<byte>();
        var writer = new MessagePackWriter(buffer);
        switch (obj)
        {
            case RunDecision decision: DecisionFormat.Write(ref writer, decision); break;
            case SubmitRun submit: DecisionFormat.WriteSpec(ref writer, submit.Spec); break;
            case OfferWorker offer:
                writer.WriteArrayHeader(2);
                writer.Write(offer.Run);
                writer.Write(offer.Hello.ToByteArray());
                break;
            case ForwardFromWorker forward:
                writer.WriteArrayHeader(3);
                writer.Write(forward.Run);
                writer.Write(forward.Worker);
                writer.Write(forward.Message.ToByteArray());
                break;
            case ReportLostWorker lost:
                writer.WriteArrayHeader(3);
                writer.Write(lost.Run);
                writer.Write(lost.Worker);
                writer.Write(lost.Reason);
                break;
            case StopRun stop:
                writer.WriteArrayHeader(2);
                writer.Write(stop.Run);
                writer.Write(stop.Reason);
                break;
            case QueryRun query:
                writer.WriteArrayHeader(1);
                writer.Write(query.Run);
                break;
            case RunStatus status:
                writer.WriteArrayHeader(5);
                writer.Write(status.Run);
                writer.Write((int)status.Phase);
                writer.Write(status.LastGeneration);
                writer.Write(status.CheckpointStep ?? -1);
                writer.Write(status.CheckpointPath);
                break;
            case DeliverToWorker deliver:
                writer.WriteArrayHeader(1);
                writer.Write(deliver.Message.ToByteArray());
                break;
            default:
                throw new SerializationException($"{obj.GetType()} has no format in {nameof(CoordinatorSerializer)}.");
        }
        writer.Flush();
        return buffer.WrittenSpan.ToArray();
    }

    public override object FromBinary(byte[] bytes, string manifest)
    {
        var reader = new MessagePackReader(bytes);
        switch (manifest)
        {
            case "submit-run:v1": return new SubmitRun(DecisionFormat.ReadSpec(ref reader));
            case "offer-worker:v1":
                reader.ReadArrayHeader();
                return new OfferWorker(reader.ReadString()!, Hello.Parser.ParseFrom(Bytes(ref reader)));
            case "from-worker:v1":
                reader.ReadArrayHeader();
                return new ForwardFromWorker(reader.ReadString()!, reader.ReadString()!, FromWorker.Parser.ParseFrom(Bytes(ref reader)));
            case "lost-worker:v1":
                reader.ReadArrayHeader();
                return new ReportLostWorker(reader.ReadString()!, reader.ReadString()!, reader.ReadString()!);
            case "stop-run:v1":
                reader.ReadArrayHeader();
                return new StopRun(reader.ReadString()!, reader.ReadString()!);
            case "query-run:v1":
                reader.ReadArrayHeader();
                return new QueryRun(reader.ReadString()!);
            case "run-status:v1":
                reader.ReadArrayHeader();
                var (run, phase, generation, step) = (reader.ReadString()!, (RunPhase)reader.ReadInt32(), reader.ReadInt64(), reader.ReadInt64());
                return new RunStatus(run, phase, generation, step < 0 ? null : step, reader.ReadString());
            case "to-worker:v1":
                reader.ReadArrayHeader();
                return new DeliverToWorker(FromCoordinator.Parser.ParseFrom(Bytes(ref reader)));
            default:
                return DecisionFormat.Read(ref reader, manifest);
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
