using Akka.Actor;
using Sora.Coordinator.Runs;
using Sora.Federation.Rounds;

namespace Sora.Coordinator.Federations;

/// <summary>The sender wants the federated run carried out and to be told what happens. May be repeated.</summary>
internal sealed record SubmitFederation(FederatedRun Federated, string JobJson, string OutputDir) : IJobMessage
{
    public string Run => Federated.Run;
}

/// <summary>What the journal keeps of a submission beside <see cref="FederationAccepted"/>: what sites compute, and where everything is.</summary>
internal sealed record FederationHome(string JobJson, string OutputDir) : ICoordinatorMessage;

/// <summary>What a coordinator says of a federated run that somebody asked about. Over: how it ended.</summary>
internal sealed record FederationStatus(string Run, RoundPhase Phase, int Round, string ModelSha256, string Outcome) : ICoordinatorMessage;

/// <summary>A federated run goes on at the sender and takes sites. Said again and again.</summary>
internal sealed record OpenFederation(string Run) : ICoordinatorMessage;

/// <summary>A federated run does not go on: it is over, or it is only not carried out, or there is none of that name.</summary>
internal sealed record CloseFederation(string Run, bool IsOver, string Reason, int ExitCode) : ICoordinatorMessage;

/// <summary>For a <see cref="FederationPool"/>: the sender's site wants to take part in this run; empty: in any.</summary>
internal sealed record SeekFederation(string Run) : INoSerializationVerificationNeeded;

/// <summary>For a <see cref="SiteSession"/>: the run is carried out here.</summary>
internal sealed record FederationIsHere(string Run, IActorRef Entity) : INoSerializationVerificationNeeded;

/// <summary>For a session: what it sought is over.</summary>
internal sealed record SendHome(string Reason, int ExitCode) : INoSerializationVerificationNeeded;

/// <summary>A session asks for <see cref="Entrance"/>.</summary>
internal sealed record AskEntrance : INoSerializationVerificationNeeded
{
    public static readonly AskEntrance Instance = new();
}

/// <summary>What a site that is let in needs of the run.</summary>
internal sealed record Entrance(FederatedRun Federated, string JobJson, FederationStore Store) : INoSerializationVerificationNeeded;

/// <summary>A site on the stream <paramref name="Connection"/> proved who it is and said its first word; its session is the sender.</summary>
internal sealed record OfferSite(string Connection, SiteHello Hello) : INoSerializationVerificationNeeded;

/// <summary>A site said something.</summary>
internal sealed record SiteSpoke(string Site, string Connection, FromSite Message) : INoSerializationVerificationNeeded;

/// <summary>A site's stream ended.</summary>
internal sealed record ReportLostSite(string Site, string Connection, string Reason) : INoSerializationVerificationNeeded;

/// <summary>For a session: pass this on to the site.</summary>
internal sealed record DeliverToSite(ToSite Message) : INoSerializationVerificationNeeded;

/// <summary>For the entity of a run: something it had done outside of itself has led to this.</summary>
internal sealed record FederationProgressed(RoundEvent Happened) : INoSerializationVerificationNeeded;
