using System.Collections.Immutable;
using System.Runtime.Serialization;
using MessagePack;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Serialization;

/// <summary>The journal's events as MessagePack arrays. Elements are only ever appended; any other change takes a new manifest.</summary>
internal static class DecisionFormat
{
    public static string Manifest(RunDecision decision) => decision switch
    {
        SubmissionAccepted => "submitted:v1",
        GenerationDecided => "generation-formed:v1",
        CheckpointTaken => "checkpoint-taken:v1",
        RunEnded { Outcome: RunFinished } => "finished:v1",
        RunEnded { Outcome: RunStopped } => "stopped:v1",
        RunEnded { Outcome: RunFailed } => "failed:v1",
        _ => throw new SerializationException($"{decision.GetType()} has no manifest in {nameof(DecisionFormat)}."),
    };

    public static void Write(ref MessagePackWriter writer, RunDecision decision)
    {
        switch (decision)
        {
            case SubmissionAccepted accepted: WriteSpec(ref writer, accepted.Spec); break;
            case GenerationDecided decided: WriteGeneration(ref writer, decided); break;
            case CheckpointTaken taken:
                writer.WriteArrayHeader(3);
                writer.Write(taken.Step);
                writer.Write(taken.Path);
                writer.Write(taken.WeightsSha256);
                break;
            case RunEnded { Outcome: RunFinished finished }:
                writer.WriteArrayHeader(5);
                writer.Write(finished.Step);
                writer.Write(finished.Loss);
                writer.Write(finished.EvalLoss ?? double.NaN);
                writer.Write(finished.WeightsSha256);
                writer.Write(finished.OutputDir);
                break;
            case RunEnded { Outcome: RunStopped stopped }:
                writer.WriteArrayHeader(3);
                writer.Write(stopped.Step);
                writer.Write(stopped.Checkpoint);
                writer.Write(stopped.Reason);
                break;
            case RunEnded { Outcome: RunFailed failed }:
                writer.WriteArrayHeader(5);
                writer.Write(failed.Step);
                writer.Write(failed.Message);
                writer.Write(failed.Worker);
                writer.Write(failed.Checkpoint);
                writer.Write(failed.ExitCode);
                break;
            default:
                throw new SerializationException($"{decision.GetType()} has no format in {nameof(DecisionFormat)}.");
        }
    }

    public static RunDecision Read(ref MessagePackReader reader, string manifest)
    {
        if (manifest == "submitted:v1")
            return new SubmissionAccepted(ReadSpec(ref reader));
        reader.ReadArrayHeader();
        return manifest switch
        {
            "generation-formed:v1" => ReadGeneration(ref reader),
            "checkpoint-taken:v1" => new CheckpointTaken(reader.ReadInt64(), reader.ReadString()!, reader.ReadString()!),
            "finished:v1" => new RunEnded(new RunFinished(reader.ReadInt64(), reader.ReadDouble(), Optional(reader.ReadDouble()), reader.ReadString()!, reader.ReadString()!)),
            "stopped:v1" => new RunEnded(new RunStopped(reader.ReadInt64(), reader.ReadString(), reader.ReadString()!)),
            "failed:v1" => new RunEnded(new RunFailed(reader.ReadInt64(), reader.ReadString()!, reader.ReadString(), reader.ReadString(), reader.ReadInt32())),
            _ => throw new SerializationException($"The journal holds '{manifest}', which this release of sora does not know. It was written by a later one; use that."),
        };
    }

    public static void WriteSpec(ref MessagePackWriter writer, RunSpec spec)
    {
        writer.WriteArrayHeader(18);
        writer.Write(spec.Run);
        writer.Write(spec.Name);
        writer.Write(spec.JobJson);
        writer.Write(spec.CorpusHash);
        writer.Write(spec.CorpusDir);
        writer.Write(spec.OutputDir);
        writer.Write(spec.ResumeFrom);
        writer.Write(spec.FirstStep);
        writer.Write(spec.MaxSteps);
        writer.Write(spec.Workers);
        writer.Write(spec.Lanes);
        writer.Write((int)spec.Numerics);
        writer.Write(spec.ExpectedCanary);
        writer.Write(spec.ExpectedFingerprint);
        writer.Write(spec.Parameters);
        writer.Write(spec.TokensPerStep);
        writer.Write(spec.Device);
        writer.Write(spec.Dtype);
    }

    // Initializers run in the order they are written, which is the order of WriteSpec.
    public static RunSpec ReadSpec(ref MessagePackReader reader)
    {
        reader.ReadArrayHeader();
        return new RunSpec
        {
            Run = reader.ReadString()!,
            Name = reader.ReadString()!,
            JobJson = reader.ReadString()!,
            CorpusHash = reader.ReadString()!,
            CorpusDir = reader.ReadString()!,
            OutputDir = reader.ReadString()!,
            ResumeFrom = reader.ReadString()!,
            FirstStep = reader.ReadInt64(),
            MaxSteps = reader.ReadInt64(),
            Workers = reader.ReadInt32(),
            Lanes = reader.ReadInt32(),
            Numerics = (NumericsPolicy)reader.ReadInt32(),
            ExpectedCanary = reader.ReadString()!,
            ExpectedFingerprint = reader.ReadString()!,
            Parameters = reader.ReadInt64(),
            TokensPerStep = reader.ReadInt64(),
            Device = reader.ReadString()!,
            Dtype = reader.ReadString()!,
        };
    }

    private static void WriteGeneration(ref MessagePackWriter writer, GenerationDecided decided)
    {
        writer.WriteArrayHeader(4);
        writer.Write(decided.Plan.Number);
        writer.Write(decided.Plan.FirstStep);
        writer.Write(decided.NumericsDiffer);
        writer.WriteArrayHeader(decided.Plan.Members.Length);
        foreach (var member in decided.Plan.Members)
        {
            writer.WriteArrayHeader(3);
            writer.Write(member.Worker);
            writer.Write(member.Lanes.First);
            writer.Write(member.Lanes.Count);
        }
    }

    private static GenerationDecided ReadGeneration(ref MessagePackReader reader)
    {
        var (number, firstStep, numericsDiffer) = (reader.ReadInt64(), reader.ReadInt64(), reader.ReadBoolean());
        var count = reader.ReadArrayHeader();
        var members = ImmutableArray.CreateBuilder<GenerationMember>(count);
        for (var rank = 0; rank < count; rank++)
        {
            var extra = reader.ReadArrayHeader() - 3;
            members.Add(new GenerationMember(reader.ReadString()!, new LaneRange(reader.ReadInt32(), reader.ReadInt32())));
            for (; extra > 0; extra--)
                reader.Skip();
        }
        return new GenerationDecided(new GenerationPlan(number, members.MoveToImmutable(), firstStep), numericsDiffer);
    }

    private static double? Optional(double value) => double.IsNaN(value) ? null : value;
}
