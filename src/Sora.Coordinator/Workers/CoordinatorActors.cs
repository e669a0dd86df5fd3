using Akka.Actor;

namespace Sora.Coordinator.Workers;

/// <summary>The actors that calls from outside need, once they are there.</summary>
internal sealed class CoordinatorActors(Task<(ActorSystem System, IActorRef Pool)> ready)
{
    public Task<(ActorSystem System, IActorRef Pool)> Ready { get; } = ready;

    /// <summary>They are up, and nobody has begun to take them down.</summary>
    public bool AreHere => Ready.IsCompletedSuccessfully && Ready.Result.System is var system
        && !system.WhenTerminated.IsCompleted && CoordinatedShutdown.Get(system).ShutdownReason is null;
}
