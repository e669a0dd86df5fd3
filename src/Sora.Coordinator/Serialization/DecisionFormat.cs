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
    private const int FirstSpecLength = 18;

    public static string Manifest(RunDecision decision) => decision switch
    {
        SubmissionAccepted => "submitted:v2",
        GenerationDecided => "generation-formed:v2",
        RunTakenUp => "taken-up:v1",
        WorkerBarred => "worker-barred:v1",
        StopDecided => "stop-decided:v1",
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
            case RunTakenUp: writer.WriteArrayHeader(0); break;
            case WorkerBarred barred:
                writer.WriteArrayHeader(3);
                writer.Write(barred.Process.Worker);
                writer.Write(barred.Process.Incarnation);
                writer.Write(barred.Reason);
                break;
            case StopDecided stop:
                writer.WriteArrayHeader(1);
                writer.Write(stop.Reason);
                break;
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

    public static bool Knows(string manifest) =>
        manifest is "submitted:v1" or "submitted:v2" or "generation-formed:v1" or "generation-formed:v2" or "taken-up:v1" or "worker-barred:v1" or "stop-decided:v1" or "checkpoint-taken:v1" or "finished:v1" or "stopped:v1" or "failed:v1";

    /// <summary>Whether a run whose last event this is, is over.</summary>
    public static bool EndsRun(string manifest) => manifest is "finished:v1" or "stopped:v1" or "failed:v1";

    public static RunDecision Read(ref MessagePackReader reader, string manifest)
    {
        if (manifest is "submitted:v1" or "submitted:v2")
            return new SubmissionAccepted(ReadSpec(ref reader));
        reader.ReadArrayHeader();
        return manifest switch
        {
            // Written by the first release, whose generations were held to a canary it did not keep: the workers vote again.
            "generation-formed:v1" => new GenerationDecided(ReadPlan(ref reader, out var differed), Reference: null!, differed),
            "generation-formed:v2" => ReadGeneration(ref reader),
            "taken-up:v1" => new RunTakenUp(),
            "worker-barred:v1" => new WorkerBarred(new WorkerProcess(reader.ReadString()!, reader.ReadString()!), reader.ReadString()!),
            "stop-decided:v1" => new StopDecided(reader.ReadString()!),
            "checkpoint-taken:v1" => new CheckpointTaken(reader.ReadInt64(), reader.ReadString()!, reader.ReadString()!),
            "finished:v1" => new RunEnded(new RunFinished(reader.ReadInt64(), reader.ReadDouble(), Optional(reader.ReadDouble()), reader.ReadString()!, reader.ReadString()!)),
            "stopped:v1" => new RunEnded(new RunStopped(reader.ReadInt64(), reader.ReadString(), reader.ReadString()!)),
            "failed:v1" => new RunEnded(new RunFailed(reader.ReadInt64(), reader.ReadString()!, reader.ReadString(), reader.ReadString(), reader.ReadInt32())),
            _ => throw new ArgumentOutOfRangeException(nameof(manifest), manifest, "no event of the journal"),
        };
    }

    public static void WriteSpec(ref MessagePackWriter writer, RunSpec spec)
    {
        writer.WriteArrayHeader(23);
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
        writer.Write(spec.StartWorkers);
        writer.Write(spec.MinWorkers);
        writer.Write((int)spec.Straggler);
        writer.Write(spec.StragglerFactor);
        writer.Write(spec.StragglerSeconds);
    }

    // Initializers run in the order they are written, which is the order of WriteSpec.
    public static RunSpec ReadSpec(ref MessagePackReader reader)
    {
        // The first release wrote no more than Dtype: its runs began with all their workers.
        var complete = reader.ReadArrayHeader() > FirstSpecLength;
        var spec = new RunSpec
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
        return complete
            ? spec with
            {
                StartWorkers = reader.ReadInt32(),
                MinWorkers = reader.ReadInt32(),
                Straggler = (StragglerPolicy)reader.ReadInt32(),
                StragglerFactor = reader.ReadDouble(),
                StragglerSeconds = reader.ReadDouble(),
            }
            : spec with { StartWorkers = spec.Workers };
    }

    private static void WriteGeneration(ref MessagePackWriter writer, GenerationDecided decided)
    {
        writer.WriteArrayHeader(5);
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
        writer.WriteArrayHeader(3);
        writer.Write(decided.Reference.Sha256);
        writer.Write(decided.Reference.Fingerprint);
        writer.Write(decided.Reference.Origin);
    }

    private static GenerationDecided ReadGeneration(ref MessagePackReader reader)
    {
        var plan = ReadPlan(ref reader, out var numericsDiffer);
        reader.ReadArrayHeader();
        return new GenerationDecided(plan, new CanaryReference(reader.ReadString()!, reader.ReadString()!, reader.ReadString()!), numericsDiffer);
    }

    private static GenerationPlan ReadPlan(ref MessagePackReader reader, out bool numericsDiffer)
    {
        var (number, firstStep) = (reader.ReadInt64(), reader.ReadInt64());
        numericsDiffer = reader.ReadBoolean();
        var count = reader.ReadArrayHeader();
        var members = ImmutableArray.CreateBuilder<GenerationMember>(count);
        for (var rank = 0; rank < count; rank++)
        {
            var extra = reader.ReadArrayHeader() - 3;
            members.Add(new GenerationMember(reader.ReadString()!, new LaneRange(reader.ReadInt32(), reader.ReadInt32())));
            for (; extra > 0; extra--)
                reader.Skip();
        }
        return new GenerationPlan(number, members.MoveToImmutable(), firstStep);
    }

    private static double? Optional(double value) => double.IsNaN(value) ? null : value;
}
