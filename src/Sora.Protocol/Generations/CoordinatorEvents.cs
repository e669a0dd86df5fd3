using Google.Protobuf;
using Sora.Protocol.Api;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Generations;

/// <summary>Something the coordinator learns.</summary>
public abstract record CoordinatorEvent;

/// <summary>Somebody wants this run.</summary>
public sealed record RunSubmitted(RunSpec Spec) : CoordinatorEvent;

/// <summary>A worker dialled in, for the first time or again.</summary>
public sealed record WorkerArrived(Hello Hello) : CoordinatorEvent;

/// <summary>A worker said something. The message is never changed after it is read.</summary>
public sealed record WorkerSaid(string Worker, FromWorker Message) : CoordinatorEvent;

/// <summary>A worker's stream closed or fell silent.</summary>
public sealed record WorkerLost(string Worker, string Reason) : CoordinatorEvent;

/// <summary>A worker has missed a few heartbeats; its stream stands. Said again as long as it is silent.</summary>
public sealed record WorkerSilent(string Worker) : CoordinatorEvent;

/// <summary>The answer to <see cref="DrawSecret"/>.</summary>
public sealed record SecretDrawn(long Generation, ByteString Secret) : CoordinatorEvent;

/// <summary>Somebody wants the run to end at the next step boundary.</summary>
public sealed record StopRequested(string Reason) : CoordinatorEvent;

/// <summary>A timer set by <see cref="SetTimer"/> ran out after <paramref name="After"/>.</summary>
public sealed record TimerFired(RunTimer Timer, TimeSpan After) : CoordinatorEvent;

/// <summary>The journal was read to its end: a run that was going on is taken up again.</summary>
public sealed record RunRecovered : CoordinatorEvent;

/// <summary>What the coordinator can wait for. How long is the shell's business.</summary>
public enum RunTimer
{
    /// <summary>The workers the run wants at its start must arrive.</summary>
    Arrival,
    /// <summary>The workers must prove themselves, and the members of a generation get ready.</summary>
    Readiness,
    /// <summary>A worker whose stream broke may dial again.</summary>
    Absence,
    /// <summary>The members told to halt must have done so.</summary>
    Halt,
    /// <summary>A checkpoint that was ordered must be there.</summary>
    Save,
    /// <summary>After a restart of the coordinator: the members of the generation must dial again.</summary>
    Return,
    /// <summary>Between generations that achieved nothing.</summary>
    Backoff,
    /// <summary>Workers that could not work with the others may try again.</summary>
    Quarantine,
}

/// <summary>Something the shell must do, in the order given.</summary>
public abstract record CoordinatorEffect;

/// <summary>Send a message to a worker.</summary>
public sealed record TellWorker(string Worker, FromCoordinator Message) : CoordinatorEffect;

/// <summary>
/// Close a worker's stream without a word: one that this run does not count on any more. If it is well, it dials again and
/// says where it stands.
/// </summary>
public sealed record DropWorker(string Worker) : CoordinatorEffect;

/// <summary>Show an event to people.</summary>
public sealed record Publish(RunEvent Event) : CoordinatorEffect;

/// <summary>Make a decision durable. The shell does so before any other effect of the same turn.</summary>
public sealed record RecordDecision(RunDecision Decision) : CoordinatorEffect;

/// <summary>Draw the secret that authenticates the exchange connections of a generation.</summary>
public sealed record DrawSecret(long Generation) : CoordinatorEffect;

/// <summary>Start, or start again, a timer.</summary>
public sealed record SetTimer(RunTimer Timer) : CoordinatorEffect;

/// <summary>Forget a timer.</summary>
public sealed record CancelTimer(RunTimer Timer) : CoordinatorEffect;

/// <summary>A rare, durable decision: what a coordinator must know after a restart.</summary>
public abstract record RunDecision;

/// <summary>The run was accepted.</summary>
public sealed record SubmissionAccepted(RunSpec Spec) : RunDecision;

/// <summary>
/// A coordinator has read the journal to its end and goes on with the run. From here on the journal refuses what the coordinator
/// before still wants to write, even if the new one has nothing to decide for a long time.
/// </summary>
public sealed record RunTakenUp : RunDecision;

/// <summary>A generation number is taken for ever, and the canary all members were held to.</summary>
public sealed record GenerationDecided(GenerationPlan Plan, CanaryReference Reference, bool NumericsDiffer) : RunDecision
{
    /// <inheritdoc/>
    public bool Equals(GenerationDecided? other) =>
        other is not null && NumericsDiffer == other.NumericsDiffer && Reference == other.Reference && Plan.Number == other.Plan.Number
        && Plan.FirstStep == other.Plan.FirstStep && Plan.Members.AsSpan().SequenceEqual(other.Plan.Members.AsSpan());

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Plan.Number, Plan.FirstStep, Reference, NumericsDiffer);
}

/// <summary>A process was found to compute wrongly, and takes no part in the run any more. A new one of the same name may prove itself.</summary>
public sealed record WorkerBarred(WorkerProcess Process, string Reason) : RunDecision;

/// <summary>Somebody wants the run to end at the next step boundary. Whoever asked need not ask the next coordinator again.</summary>
public sealed record StopDecided(string Reason) : RunDecision;

/// <summary>A checkpoint is complete.</summary>
public sealed record CheckpointTaken(long Step, string Path, string WeightsSha256) : RunDecision;

/// <summary>The run is over: <see cref="RunFinished"/>, <see cref="RunStopped"/> or <see cref="RunFailed"/>.</summary>
public sealed record RunEnded(RunEvent Outcome) : RunDecision;
