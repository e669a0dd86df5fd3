using System.Collections.Immutable;

namespace Sora.Federation.Rounds;

/// <summary>Something a site learns.</summary>
public abstract record RoundSiteEvent;

/// <summary>A stream to the coordinator stands.</summary>
/// <param name="Incarnation">Of this process.</param>
/// <param name="Unfit">Why the site's policy permits the job nothing at all; empty: it may take part.</param>
public sealed record CoordinatorReached(string Incarnation, string Unfit) : RoundSiteEvent;

/// <summary>The coordinator said something.</summary>
public sealed record CoordinatorSaid(ToSite Message) : RoundSiteEvent;

/// <summary>What the site's policy says to a round.</summary>
/// <param name="Round">Which.</param>
/// <param name="Refusal">The rule that forbids it; empty: it is permitted.</param>
/// <param name="ForJob">It forbids every round of the job.</param>
public sealed record PolicyDecided(RoundKey Round, string Refusal, bool ForJob) : RoundSiteEvent;

/// <summary>The local training is done, and its update stored durably.</summary>
public sealed record LocalRoundTrained(UpdateOffer Offer) : RoundSiteEvent;

/// <summary>The local training, or a stage, cannot be done.</summary>
public sealed record LocalRoundFailed(RoundKey Round, string Reason) : RoundSiteEvent;

/// <summary>The answer of a stage is with the coordinator's shell.</summary>
public sealed record StageSent(RoundKey Round, SecureStage Stage) : RoundSiteEvent;

/// <summary>A global model is evaluated on the site's held-out data. A loss that is not a number: it is not, or may not be told.</summary>
public sealed record LocalEvaluationDone(int Version, double Loss, double Examples) : RoundSiteEvent;

/// <summary>Time to say again what has not been answered.</summary>
public sealed record RetryDue : RoundSiteEvent;

/// <summary>The site's owner wants it to leave when it has finished what it has begun.</summary>
public sealed record DrainRequested : RoundSiteEvent;

/// <summary>Something the site's shell must do, in the order given.</summary>
public abstract record RoundSiteEffect;

/// <summary>Make a decision durable, before any other effect of the same turn.</summary>
public sealed record JournalSite(RoundSiteDecision Decision) : RoundSiteEffect;

/// <summary>Send a message to the coordinator.</summary>
public sealed record TellCoordinator(FromSite Message) : RoundSiteEffect;

/// <summary>Ask the site's policy.</summary>
public sealed record AskPolicy(RoundAnnounced Round) : RoundSiteEffect;

/// <summary>Fetch the model and train. Nothing of the result leaves before <see cref="LocalRoundTrained"/> was journaled.</summary>
public sealed record TrainLocally(RoundAnnounced Round) : RoundSiteEffect;

/// <summary>Stop the training of an attempt that is over.</summary>
public sealed record StopTraining(RoundKey Round) : RoundSiteEffect;

/// <summary>Send the chunks of an update, from this one on.</summary>
public sealed record SendUpdate(UpdateOffer Offer, int NextChunk) : RoundSiteEffect;

/// <summary>Compute and send the answer of a stage; asked again, the same bytes.</summary>
public sealed record AnswerStage(RoundKey Round, SecureStage Stage, ImmutableArray<string> Participants) : RoundSiteEffect;

/// <summary>Evaluate a global model.</summary>
public sealed record EvaluateLocally(ModelVersion Model) : RoundSiteEffect;

/// <summary>The bytes of an update, and the keys of its attempt, are not needed any more.</summary>
public sealed record ForgetUpdate(RoundKey Round) : RoundSiteEffect;

/// <summary>Say <see cref="RetryDue"/> after a while.</summary>
public sealed record StartRetry : RoundSiteEffect;

/// <summary>The site's part is over.</summary>
public sealed record LeaveFederation(string Reason, int ExitCode) : RoundSiteEffect;

/// <summary>What a site must know after a restart.</summary>
public abstract record RoundSiteDecision;

/// <summary>The site takes part in an attempt. It never goes back to an older one.</summary>
public sealed record RoundTaken(RoundKey Round) : RoundSiteDecision;

/// <summary>
/// This is the site's update for the attempt, and no other will be: with noise in it a second one would cost privacy that nobody has
/// counted.
/// </summary>
public sealed record UpdateReady(UpdateOffer Offer) : RoundSiteDecision;

/// <summary>The attempt is over for the site.</summary>
public sealed record RoundLeft(RoundKey Round) : RoundSiteDecision;
