using Akka.Actor;
using Akka.Cluster.Sharding;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;

namespace Sora.Coordinator.Runs;

/// <summary>A message of the coordinators to each other: everything here has a manifest in the serializer.</summary>
internal interface ICoordinatorMessage;

/// <summary>A message for the <see cref="JobEntity"/> of a run.</summary>
internal interface IJobMessage : ICoordinatorMessage
{
    string Run { get; }
}

internal sealed record SubmitRun(RunSpec Spec) : IJobMessage
{
    public string Run => Spec.Run;
}

/// <summary>A free worker; its session is the sender.</summary>
internal sealed record OfferWorker(string Run, Hello Hello) : IJobMessage;

internal sealed record ForwardFromWorker(string Run, string Worker, FromWorker Message) : IJobMessage;

internal sealed record ReportLostWorker(string Run, string Worker, string Reason) : IJobMessage;

internal sealed record StopRun(string Run, string Reason) : IJobMessage;

/// <summary>Asks for <see cref="RunStatus"/>.</summary>
internal sealed record QueryRun(string Run) : IJobMessage;

/// <summary>For a <c>WorkerSession</c>: pass this on to the worker.</summary>
internal sealed record DeliverToWorker(FromCoordinator Message) : ICoordinatorMessage;

/// <summary>Routes to the entity of a run. The number of shards may never change for the life of a journal.</summary>
internal sealed class JobMessageExtractor() : HashCodeMessageExtractor(maxNumberOfShards: 30)
{
    public override string? EntityId(object message) => (message as IJobMessage)?.Run;
}

/// <summary>A timer of the run ran out; never leaves the actor.</summary>
internal sealed record TimerElapsed(RunTimer Timer, TimeSpan After) : INoSerializationVerificationNeeded, INotInfluenceReceiveTimeout;
