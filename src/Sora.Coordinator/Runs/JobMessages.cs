using Akka.Actor;
using Akka.Cluster.Sharding;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Runs;

/// <summary>A message of the coordinators to each other: everything here has a manifest in the serializer.</summary>
internal interface ICoordinatorMessage;

/// <summary>A message for the <see cref="JobEntity"/> of a run.</summary>
internal interface IJobMessage : ICoordinatorMessage
{
    string Run { get; }
}

/// <summary>The sender wants the run carried out and to be told what happens. May be repeated.</summary>
internal sealed record SubmitRun(RunSpec Spec) : IJobMessage
{
    public string Run => Spec.Run;
}

/// <summary>The sender wants to be told what happens. May be repeated, and is: the entity may have moved.</summary>
internal sealed record WatchRun(string Run) : IJobMessage;

/// <summary>Nobody has heard of the run lately: if it is not over it must be somewhere.</summary>
internal sealed record WakeRun(string Run) : IJobMessage;

/// <summary>A worker on the stream <paramref name="Connection"/>; its session is the sender.</summary>
internal sealed record OfferWorker(string Run, string Connection, Hello Hello) : IJobMessage;

/// <summary>The stream is open. An entity that does not know it (it came up somewhere else meanwhile) has it closed, and the worker dials again.</summary>
internal sealed record StillLinked(string Run, string Worker, string Connection) : IJobMessage;

internal sealed record ForwardFromWorker(string Run, string Worker, string Connection, FromWorker Message) : IJobMessage;

internal sealed record ReportLostWorker(string Run, string Worker, string Connection, string Reason) : IJobMessage;

/// <summary>The stream is open, and no heartbeat has come for some time.</summary>
internal sealed record ReportSilentWorker(string Run, string Worker, string Connection) : IJobMessage;

internal sealed record StopRun(string Run, string Reason) : IJobMessage;

/// <summary>Asks for <see cref="RunStatus"/>.</summary>
internal sealed record QueryRun(string Run) : IJobMessage;

/// <summary>For a watcher: something happened in the run.</summary>
internal sealed record RunHappened(string Run, RunEvent Event) : ICoordinatorMessage;

/// <summary>For a watcher: what it asked for cannot be had.</summary>
internal sealed record WatchRefused(string Run, string Reason) : ICoordinatorMessage;

/// <summary>Routes to the entity of a run. The number of shards may never change for the life of a journal.</summary>
internal sealed class JobMessageExtractor() : HashCodeMessageExtractor(maxNumberOfShards: 30)
{
    public override string? EntityId(object message) => (message as IJobMessage)?.Run;
}

/// <summary>A timer of the run ran out; never leaves the actor.</summary>
internal sealed record TimerElapsed(RunTimer Timer, TimeSpan After) : INoSerializationVerificationNeeded, INotInfluenceReceiveTimeout;
