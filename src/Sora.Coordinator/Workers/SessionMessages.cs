using Akka.Actor;
using Sora.Coordinator.Runs;
using Sora.Protocol.Api;

namespace Sora.Coordinator.Workers;

/// <summary>For a <see cref="WorkerSession"/>: pass this on to the worker.</summary>
internal sealed record DeliverToWorker(FromCoordinator Message) : ICoordinatorMessage;

/// <summary>For a session: close the stream without a word. A worker that is well dials again and says where it stands.</summary>
internal sealed record CloseStream : ICoordinatorMessage
{
    public static readonly CloseStream Instance = new();
}

/// <summary>For a session: another process claims the name of your worker. Answer with <see cref="ProvedAlive"/> once it is heard.</summary>
internal sealed record ProveAlive : ICoordinatorMessage
{
    public static readonly ProveAlive Instance = new();
}

/// <summary>The worker on this connection was heard after <see cref="ProveAlive"/>.</summary>
internal sealed record ProvedAlive(string Worker, string Connection) : ICoordinatorMessage;

/// <summary>For a session: turn the worker away.</summary>
internal sealed record TurnAway(string Reason, int ExitCode) : ICoordinatorMessage;

/// <summary>For a session: its worker takes part in a run.</summary>
internal sealed record Enlist(string Run) : INoSerializationVerificationNeeded;

/// <summary>The worker's stream ended.</summary>
internal sealed record StreamClosed(string Reason) : INoSerializationVerificationNeeded;

/// <summary>
/// This coordinator ends: whoever speaks to runs for somebody outside stops first. Workers dial another coordinator while
/// the runs move there; a question to a run that has left would hold up the end.
/// </summary>
internal sealed record Closing : INoSerializationVerificationNeeded
{
    public static readonly Closing Instance = new();
}
