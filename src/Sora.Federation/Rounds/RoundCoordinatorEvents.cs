using System.Collections.Immutable;
using Sora.Protocol.Runs;

namespace Sora.Federation.Rounds;

/// <summary>Something the coordinator learns.</summary>
public abstract record RoundEvent
{
    /// <summary>When, by a clock of the shell that never goes back: only what people are told, and what is left of a deadline, depends on it.</summary>
    public TimeSpan At { get; init; }
}

/// <summary>Somebody wants this run.</summary>
public sealed record FederationSubmitted(FederatedRun Run) : RoundEvent;

/// <summary>The journal was read to its end: a run that was going on is taken up again.</summary>
public sealed record FederationRecovered : RoundEvent;

/// <summary>A site dialled in, for the first time or again. Its identity is proved.</summary>
public sealed record SiteArrived(SiteHello Hello) : RoundEvent;

/// <summary>A site said something.</summary>
public sealed record SiteSaid(string Site, FromSite Message) : RoundEvent;

/// <summary>A site's stream is gone, or silent, and it has not come back within the time the shell gives it.</summary>
public sealed record SiteLost(string Site, string Reason) : RoundEvent;

/// <summary>An operator, or a rule about bad updates, shuts a site out.</summary>
public sealed record SiteBanned(string Site, string Reason) : RoundEvent;

/// <summary>An operator lets it in again.</summary>
public sealed record SiteReadmitted(string Site) : RoundEvent;

/// <summary>Every byte of an offered update is stored durably, has its hash and its shape, and holds finite numbers.</summary>
public sealed record UpdateStored(UpdateOffer Offer) : RoundEvent;

/// <summary>The bytes of an update are not what was offered, or not an update of this model.</summary>
public sealed record UpdateRejected(UpdateId Id, string Reason) : RoundEvent;

/// <summary>The ledger holds the round's cost back, durably.</summary>
/// <param name="Round">For which attempt.</param>
/// <param name="Epsilon">Spent in all, this attempt included.</param>
public sealed record BudgetReserved(RoundKey Round, double Epsilon) : RoundEvent;

/// <summary>The budget does not cover the round.</summary>
public sealed record BudgetRefused(RoundKey Round, string Reason) : RoundEvent;

/// <summary>The ledger has written down what became of a reservation.</summary>
public sealed record BudgetSettled(RoundKey Round) : RoundEvent;

/// <summary>The next global model is computed and stored durably.</summary>
/// <param name="Round">From which attempt's updates.</param>
/// <param name="Sha256">Of the new weights.</param>
/// <param name="Outliers">Sites whose updates the strategy left out, with the reason.</param>
public sealed record RoundAggregated(RoundKey Round, string Sha256, ImmutableSortedDictionary<string, string> Outliers) : RoundEvent;

/// <summary>There is no next model to be had from the attempt's updates: their bytes are lost, or the sum was never unmasked.</summary>
public sealed record AggregationFailed(RoundKey Round, string Reason) : RoundEvent;

/// <summary>A timer set by <see cref="StartTimer"/> ran out.</summary>
public sealed record RoundTimerFired(RoundTimerKey Timer) : RoundEvent;

/// <summary>Somebody wants the run to end with the last global model that is complete.</summary>
public sealed record FederationStopRequested(string Reason) : RoundEvent;

/// <summary>What the coordinator can wait for.</summary>
public enum RoundTimer
{
    /// <summary>The updates of a round.</summary>
    Deadline,
    /// <summary>The answers of a secure stage.</summary>
    Stage,
    /// <summary>Until those who have not answered are told again.</summary>
    Reminder,
    /// <summary>Between attempts at a round.</summary>
    Backoff,
    /// <summary>The sites' evaluations.</summary>
    Evaluation,
}

/// <summary>Which timer, and what it was set for: one that fires for something that is over does nothing.</summary>
public sealed record RoundTimerKey(RoundTimer Timer, RoundKey Round, SecureStage Stage = SecureStage.AdvertiseKeys);

/// <summary>Something the shell must do, in the order given.</summary>
public abstract record RoundEffect;

/// <summary>Make a decision durable. The shell does so, in order, before any other effect of the same turn.</summary>
public sealed record JournalRound(RoundDecision Decision) : RoundEffect;

/// <summary>Send a message to a site, if it is there.</summary>
public sealed record TellSite(string Site, ToSite Message) : RoundEffect;

/// <summary>Show an event to people.</summary>
public sealed record ShowReport(RunEvent Report) : RoundEffect;

/// <summary>Let a site send an update: answer with <see cref="UploadFrom"/>, and say <see cref="UpdateStored"/> when all of it is there, at once if it is.</summary>
public sealed record ReceiveUpdate(string Site, UpdateOffer Offer) : RoundEffect;

/// <summary>Compute the next global model from exactly these updates. The same call must give the same bytes.</summary>
public sealed record AggregateRound(RoundKey Round, ModelVersion Base, ImmutableArray<AcceptedUpdate> Updates) : RoundEffect;

/// <summary>The stored bytes of these updates are not needed any more.</summary>
public sealed record DiscardUpdates(ImmutableArray<UpdateId> Updates) : RoundEffect;

/// <summary>Hold the cost of a round back in the ledger. Asked again with the same key it is the same reservation.</summary>
public sealed record ReserveBudget(RoundKey Round) : RoundEffect;

/// <summary>
/// Write down what became of a reservation: spent, or given back. Idempotent; a key that was settled can never be reserved again.
/// What is reserved counts as spent until then, so a crash in between can only count too much.
/// </summary>
public sealed record SettleBudget(RoundKey Round, bool Spent) : RoundEffect;

/// <summary>Start a timer; another one of its kind is forgotten.</summary>
public sealed record StartTimer(RoundTimerKey Key, TimeSpan After) : RoundEffect;

/// <summary>Forget a timer.</summary>
public sealed record StopTimer(RoundTimer Timer) : RoundEffect;

/// <summary>
/// A durable decision: what a coordinator must know after a restart. <see cref="RoundCoordinator.Apply"/> of all of them in order is the
/// state it goes on from.
/// </summary>
public abstract record RoundDecision;

/// <summary>The run was accepted.</summary>
public sealed record FederationAccepted(FederatedRun Run) : RoundDecision;

/// <summary>A coordinator has read the journal to its end and goes on: the journal refuses from here on what the one before still wants to write.</summary>
public sealed record FederationTakenUp : RoundDecision;

/// <summary>An attempt's number is taken for ever, and who was picked for it.</summary>
public sealed record RoundOpened(RoundKey Round, ModelVersion Base, Cohort Cohort) : RoundDecision;

/// <summary>The attempt's cost is held back in the ledger. Only after this may anybody be told of it.</summary>
public sealed record BudgetGranted(RoundKey Round, double Epsilon) : RoundDecision;

/// <summary>An update counts. In secure rounds it cannot be kept over a restart, and is not journaled.</summary>
public sealed record UpdateAccepted(AcceptedUpdate Update) : RoundDecision;

/// <summary>These updates, and no others, make the next model. In the order of the sites' names.</summary>
public sealed record RoundClosed(RoundKey Round, ImmutableArray<AcceptedUpdate> Updates) : RoundDecision;

/// <summary>Nothing comes of the attempt.</summary>
/// <param name="Round">Which.</param>
/// <param name="Reason">Why.</param>
/// <param name="Missing">Who was asked and did not deliver: they are asked last in the next attempt.</param>
/// <param name="Declined">Of these, who refused or failed: they are not asked again for this round if there are enough others.</param>
public sealed record RoundAbandoned(RoundKey Round, string Reason, ImmutableSortedSet<string> Missing, ImmutableSortedSet<string> Declined) : RoundDecision;

/// <summary>There is a new global model.</summary>
public sealed record ModelCommitted(RoundKey Round, ModelVersion Model, double Loss) : RoundDecision;

/// <summary>The ledger knows what became of the attempt's reservation.</summary>
public sealed record BudgetClosed(RoundKey Round) : RoundDecision;

/// <summary>The sites' evaluations of the global model are in, as far as they came.</summary>
public sealed record EvaluationClosed(int Version, double? Loss) : RoundDecision;

/// <summary>A site is shut out. Its update in a round that is still open does not count.</summary>
public sealed record SiteBarred(string Site, string Reason) : RoundDecision;

/// <summary>It is let in again.</summary>
public sealed record SiteUnbarred(string Site) : RoundDecision;

/// <summary>The run is to end. Whoever asked need not ask the next coordinator again.</summary>
public sealed record FederationStopDecided(string Reason) : RoundDecision;

/// <summary>The run is over: <see cref="FederationFinished"/>, <see cref="FederationStopped"/> or <see cref="FederationFailed"/>.</summary>
public sealed record FederationEnded(RunEvent Outcome) : RoundDecision;
