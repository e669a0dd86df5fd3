using Akka.Actor;

namespace Sora.Coordinator.Workers;

/// <summary>The actors that calls from outside need, once they are there.</summary>
internal sealed class CoordinatorActors(Task<(ActorSystem System, IActorRef Pool)> ready)
{
    public Task<(ActorSystem System, IActorRef Pool)> Ready { get; } = ready;
}
