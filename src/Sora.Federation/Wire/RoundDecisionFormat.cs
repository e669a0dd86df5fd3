using System.Collections.Immutable;
using MessagePack;
using Sora.Federation.Rounds;
using static Sora.Federation.Wire.Elements;
using static Sora.Federation.Wire.Packing;
using static Sora.Federation.Wire.RoundElements;

namespace Sora.Federation.Wire;

/// <summary>
/// A federated run's journal: each decision a MessagePack array, its manifest beside it. Elements are only ever appended; any other change
/// takes a new manifest. Texts for people are kept whole: nobody outside writes here.
/// </summary>
public static class RoundDecisionFormat
{
    /// <summary>What a decision is called in the journal; none is the name of a decision of another kind of run.</summary>
    public static string Manifest(RoundDecision decision) => decision switch
    {
        FederationAccepted => "federation-accepted:v1",
        FederationTakenUp => "federation-taken-up:v1",
        RoundOpened => "round-opened:v1",
        BudgetGranted => "budget-granted:v1",
        UpdateAccepted => "update-accepted:v1",
        RoundClosed => "round-closed:v1",
        RoundAbandoned => "round-abandoned:v1",
        ModelCommitted => "model-committed:v1",
        BudgetClosed => "budget-closed:v1",
        EvaluationClosed => "evaluation-closed:v1",
        SiteBarred => "site-barred:v1",
        SiteUnbarred => "site-unbarred:v1",
        FederationStopDecided => "federation-stop-decided:v1",
        FederationEnded { Outcome: FederationFinished } => "federation-finished:v1",
        FederationEnded { Outcome: FederationStopped } => "federation-stopped:v1",
        FederationEnded { Outcome: FederationFailed } => "federation-failed:v1",
        _ => throw new InvalidRoundMessageException($"{decision} has no manifest in {nameof(RoundDecisionFormat)}."),
    };

    /// <summary>Whether <see cref="Read"/> reads it.</summary>
    public static bool Knows(string manifest) => manifest is
        "federation-accepted:v1" or "federation-taken-up:v1" or "round-opened:v1" or "budget-granted:v1" or "update-accepted:v1" or "round-closed:v1"
        or "round-abandoned:v1" or "model-committed:v1" or "budget-closed:v1" or "evaluation-closed:v1" or "site-barred:v1" or "site-unbarred:v1"
        or "federation-stop-decided:v1" || EndsRun(manifest);

    /// <summary>Whether a run whose last decision this is, is over.</summary>
    public static bool EndsRun(string manifest) => manifest is "federation-finished:v1" or "federation-stopped:v1" or "federation-failed:v1";

    /// <summary>Packs a decision.</summary>
    /// <exception cref="InvalidRoundMessageException">It holds something that <see cref="Read"/> would not take.</exception>
    public static void Write(ref MessagePackWriter writer, RoundDecision decision)
    {
        writer.WriteArrayHeader(Known(Manifest(decision)));
        switch (decision)
        {
            case FederationAccepted accepted: FederatedRunFormat.WriteRun(ref writer, accepted.Run); break;
            case FederationTakenUp: break;
            case RoundOpened opened:
                WriteKey(ref writer, opened.Round);
                WriteModel(ref writer, opened.Base);
                WriteCohort(ref writer, opened.Cohort);
                break;
            case BudgetGranted granted:
                WriteKey(ref writer, granted.Round);
                writer.Write(granted.Epsilon);
                break;
            case UpdateAccepted accepted: WriteAccepted(ref writer, accepted.Update); break;
            case RoundClosed closed:
                WriteKey(ref writer, closed.Round);
                WriteList(ref writer, closed.Updates, int.MaxValue, WriteAccepted);
                break;
            case RoundAbandoned abandoned:
                WriteKey(ref writer, abandoned.Round);
                writer.Write(abandoned.Reason);
                WriteNames(ref writer, abandoned.Missing, int.MaxValue);
                WriteNames(ref writer, abandoned.Declined, int.MaxValue);
                break;
            case ModelCommitted committed:
                WriteKey(ref writer, committed.Round);
                WriteModel(ref writer, committed.Model);
                writer.Write(committed.Loss);
                break;
            case BudgetClosed closed: WriteKey(ref writer, closed.Round); break;
            case EvaluationClosed closed:
                WriteNumber(ref writer, closed.Version);
                WriteOptional(ref writer, closed.Loss);
                break;
            case SiteBarred barred:
                WriteName(ref writer, barred.Site);
                writer.Write(barred.Reason);
                break;
            case SiteUnbarred unbarred: WriteName(ref writer, unbarred.Site); break;
            case FederationStopDecided stop: writer.Write(stop.Reason); break;
            case FederationEnded { Outcome: FederationFinished finished }:
                writer.Write(finished.Rounds);
                writer.Write(finished.ModelSha256);
                WriteOptional(ref writer, finished.Loss);
                WriteOptional(ref writer, finished.EvalLoss);
                WriteOptional(ref writer, finished.Epsilon);
                break;
            case FederationEnded { Outcome: FederationStopped stopped }:
                writer.Write(stopped.Round);
                writer.Write(stopped.ModelSha256);
                writer.Write(stopped.Reason);
                break;
            case FederationEnded { Outcome: FederationFailed failed }:
                writer.Write(failed.Round);
                writer.Write(failed.ModelSha256);
                writer.Write(failed.Message);
                writer.Write(failed.ExitCode);
                break;
        }
    }

    /// <summary>Unpacks a decision.</summary>
    /// <exception cref="InvalidRoundMessageException">It is none that this release knows.</exception>
    public static RoundDecision Read(string manifest, ref MessagePackReader reader) => Guarded(ref reader, (ref packed) =>
        ReadArray(ref packed, Known(manifest), (ref elements) => ReadDecision(manifest, ref elements)));

    private static RoundDecision ReadDecision(string manifest, ref MessagePackReader reader) => manifest switch
    {
        "federation-accepted:v1" => new FederationAccepted(FederatedRunFormat.ReadRun(ref reader)),
        "federation-taken-up:v1" => new FederationTakenUp(),
        "round-opened:v1" => new RoundOpened(ReadKey(ref reader), ReadModel(ref reader), ReadCohort(ref reader)),
        "budget-granted:v1" => new BudgetGranted(ReadKey(ref reader), reader.ReadDouble()),
        "update-accepted:v1" => new UpdateAccepted(ReadAccepted(ref reader)),
        "round-closed:v1" => new RoundClosed(ReadKey(ref reader), ReadList(ref reader, int.MaxValue, ReadAccepted)),
        "round-abandoned:v1" => new RoundAbandoned(ReadKey(ref reader), ReadText(ref reader), ReadSet(ref reader), ReadSet(ref reader)),
        "model-committed:v1" => new ModelCommitted(ReadKey(ref reader), ReadModel(ref reader), reader.ReadDouble()),
        "budget-closed:v1" => new BudgetClosed(ReadKey(ref reader)),
        "evaluation-closed:v1" => new EvaluationClosed(ReadNumber(ref reader), ReadOptional(ref reader)),
        "site-barred:v1" => new SiteBarred(ReadName(ref reader), ReadText(ref reader)),
        "site-unbarred:v1" => new SiteUnbarred(ReadName(ref reader)),
        "federation-stop-decided:v1" => new FederationStopDecided(ReadText(ref reader)),
        "federation-finished:v1" => new FederationEnded(new FederationFinished(
            reader.ReadInt32(), ReadText(ref reader), ReadOptional(ref reader), ReadOptional(ref reader), ReadOptional(ref reader))),
        "federation-stopped:v1" => new FederationEnded(new FederationStopped(reader.ReadInt32(), ReadText(ref reader), ReadText(ref reader))),
        "federation-failed:v1" => new FederationEnded(new FederationFailed(reader.ReadInt32(), ReadText(ref reader), ReadText(ref reader), reader.ReadInt32())),
        _ => Unknown<RoundDecision>(manifest),
    };

    /// <summary>How many elements this release writes.</summary>
    private static int Known(string manifest) => manifest switch
    {
        "federation-taken-up:v1" => 0,
        "federation-accepted:v1" or "update-accepted:v1" or "budget-closed:v1" or "site-unbarred:v1" or "federation-stop-decided:v1" => 1,
        "budget-granted:v1" or "round-closed:v1" or "evaluation-closed:v1" or "site-barred:v1" => 2,
        "round-opened:v1" or "model-committed:v1" or "federation-stopped:v1" => 3,
        "round-abandoned:v1" or "federation-failed:v1" => 4,
        "federation-finished:v1" => 5,
        _ => Unknown<int>(manifest),
    };

    private static ImmutableSortedSet<string> ReadSet(ref MessagePackReader reader) =>
        ReadNames(ref reader, int.MaxValue).ToImmutableSortedSet(StringComparer.Ordinal);
}
