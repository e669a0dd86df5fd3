using System.Collections.Immutable;

namespace Sora.Federation.Rounds;

/// <summary>The stages of a secure aggregation, in their order (Bonawitz et al. 2017).</summary>
public enum SecureStage
{
    /// <summary>Fresh public keys of the session.</summary>
    AdvertiseKeys,
    /// <summary>Encrypted shares for the peers.</summary>
    ShareKeys,
    /// <summary>The masked update, after the local training.</summary>
    MaskedInput,
    /// <summary>Signatures over who is in the sum.</summary>
    Consistency,
    /// <summary>One share for each peer: its own mask's if it is in the sum, its key's if it is not.</summary>
    Unmask,
}

/// <summary>Something the coordinator says to a site.</summary>
public abstract record ToSite(string Run);

/// <summary>Train on this. Said again until an answer comes.</summary>
/// <param name="Run">The run.</param>
/// <param name="Round">Which attempt at which round.</param>
/// <param name="Model">What to begin with.</param>
/// <param name="LocalSteps">Optimizer updates to make; 0: <paramref name="LocalEpochs"/> counts.</param>
/// <param name="LocalEpochs">Passes over the data; 0: <paramref name="LocalSteps"/> counts.</param>
/// <param name="Deadline">How long the round still waits: no time of day, clocks differ.</param>
/// <param name="Chunks">How to cut the update.</param>
/// <param name="Secure">Whether the update is masked.</param>
public sealed record RoundAnnounced(string Run, RoundKey Round, ModelVersion Model, int LocalSteps, int LocalEpochs, TimeSpan Deadline, ChunkLayout Chunks, bool Secure) : ToSite(Run);

/// <summary>A stage of a secure round has begun.</summary>
/// <param name="Run">The run.</param>
/// <param name="Round">Which attempt at which round.</param>
/// <param name="Stage">The stage.</param>
/// <param name="Participants">Who is still in, in the order of names.</param>
/// <param name="Deadline">How long the stage waits.</param>
public sealed record StageOpened(string Run, RoundKey Round, SecureStage Stage, ImmutableArray<string> Participants, TimeSpan Deadline) : ToSite(Run);

/// <summary>The offer is taken: send from this chunk on. The shell says so, which knows what it has stored of these bytes.</summary>
public sealed record UploadFrom(string Run, UpdateId Id, int NextChunk) : ToSite(Run);

/// <summary>The update counts; that is in the journal.</summary>
public sealed record UpdateAcknowledged(string Run, UpdateId Id) : ToSite(Run);

/// <summary>The update does not count, and will not.</summary>
public sealed record UpdateRefused(string Run, UpdateId Id, string Reason) : ToSite(Run);

/// <summary>Nothing more is wanted for this attempt.</summary>
public sealed record RoundOver(string Run, RoundKey Round, string Reason) : ToSite(Run);

/// <summary>Evaluate a global model on the site's own held-out data.</summary>
public sealed record EvaluateModel(string Run, ModelVersion Model) : ToSite(Run);

/// <summary>The site's part in the run is over.</summary>
public sealed record Dismissed(string Run, string Reason, int ExitCode) : ToSite(Run);

/// <summary>Something a site says to the coordinator.</summary>
public abstract record FromSite(string Run);

/// <summary>The first word on every stream.</summary>
/// <param name="Run">The run.</param>
/// <param name="Site">Its registered name.</param>
/// <param name="Incarnation">Of its process: another one remembers nothing but its journal.</param>
/// <param name="Unfit">Why it takes no part in this job at all, as its policy says; empty: it does.</param>
/// <param name="WorkingOn">The attempt it is at work on or holds an update for.</param>
/// <param name="Draining">It wants to leave: no new work.</param>
public sealed record SiteHello(string Run, string Site, string Incarnation, string Unfit, RoundKey? WorkingOn, bool Draining) : FromSite(Run);

/// <summary>The site trains.</summary>
public sealed record RoundAccepted(string Run, RoundKey Round) : FromSite(Run);

/// <summary>The site's policy does not permit it.</summary>
/// <param name="Run">The run.</param>
/// <param name="Round">Which attempt at which round.</param>
/// <param name="Reason">Which rule.</param>
/// <param name="ForJob">It will not permit any other round either.</param>
public sealed record RoundRefused(string Run, RoundKey Round, string Reason, bool ForJob) : FromSite(Run);

/// <summary>The site cannot deliver in this attempt.</summary>
public sealed record RoundFailed(string Run, RoundKey Round, string Reason) : FromSite(Run);

/// <summary>The site's answer of a secure stage is with the coordinator's shell. The masked input is an update instead.</summary>
public sealed record StageAnswered(string Run, RoundKey Round, SecureStage Stage) : FromSite(Run);

/// <summary>The site holds an update. Said again until it is acknowledged or refused.</summary>
public sealed record UpdateOffered(string Run, UpdateOffer Offer) : FromSite(Run);

/// <summary>What a site's held-out data says of a global model.</summary>
public sealed record ModelEvaluated(string Run, int Version, double Loss, double Examples) : FromSite(Run);

/// <summary>The site wants to leave: it finishes what it has begun and takes on nothing new.</summary>
public sealed record SiteDraining(string Run) : FromSite(Run);
