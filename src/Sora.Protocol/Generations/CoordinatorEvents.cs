using Google.Protobuf;
using Sora.Protocol.Api;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Generations;

/// <summary>Something the coordinator learns.</summary>
public abstract record CoordinatorEvent;

/// <summary>Somebody wants this run.</summary>
public sealed record RunSubmitted(RunSpec Spec) : CoordinatorEvent;

/// <summary>A worker dialled in and is free.</summary>
public sealed record WorkerArrived(Hello Hello) : CoordinatorEvent;

/// <summary>A worker said something. The message is never changed after it is read.</summary>
public sealed record WorkerSaid(string Worker, FromWorker Message) : CoordinatorEvent;

/// <summary>A worker's stream closed or fell silent.</summary>
public sealed record WorkerLost(string Worker, string Reason) : CoordinatorEvent;

/// <summary>The answer to <see cref="DrawSecret"/>.</summary>
public sealed record SecretDrawn(long Generation, ByteString Secret) : CoordinatorEvent;

/// <summary>Somebody wants the run to end at the next step boundary.</summary>
public sealed record StopRequested(string Reason) : CoordinatorEvent;

/// <summary>A timer set by <see cref="SetTimer"/> ran out after <paramref name="After"/>.</summary>
public sealed record TimerFired(RunTimer Timer, TimeSpan After) : CoordinatorEvent;

/// <summary>What the coordinator can wait for. How long is the shell's business.</summary>
public enum RunTimer
{
    /// <summary>The workers the run wants must arrive.</summary>
    Arrival,
    /// <summary>The workers must prove themselves and be ready.</summary>
    Readiness,
    /// <summary>The cause of an echoed failure may still arrive.</summary>
    CauseGrace,
    /// <summary>The workers must stop.</summary>
    Stop,
}

/// <summary>Something the shell must do, in the order given.</summary>
public abstract record CoordinatorEffect;

/// <summary>Send a message to a worker.</summary>
public sealed record TellWorker(string Worker, FromCoordinator Message) : CoordinatorEffect;

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

/// <summary>A generation number is taken for ever.</summary>
public sealed record GenerationDecided(GenerationPlan Plan, bool NumericsDiffer) : RunDecision
{
    /// <inheritdoc/>
    public bool Equals(GenerationDecided? other) =>
        other is not null && NumericsDiffer == other.NumericsDiffer && Plan.Number == other.Plan.Number
        && Plan.FirstStep == other.Plan.FirstStep && Plan.Members.AsSpan().SequenceEqual(other.Plan.Members.AsSpan());

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Plan.Number, Plan.FirstStep, NumericsDiffer);
}

/// <summary>A checkpoint is complete.</summary>
public sealed record CheckpointTaken(long Step, string Path, string WeightsSha256) : RunDecision;

/// <summary>The run is over: <see cref="RunFinished"/>, <see cref="RunStopped"/> or <see cref="RunFailed"/>.</summary>
public sealed record RunEnded(RunEvent Outcome) : RunDecision;
