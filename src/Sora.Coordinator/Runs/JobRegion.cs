using Akka.Actor;
using Akka.Cluster.Sharding;

namespace Sora.Coordinator.Runs;

/// <summary>The shard region of <see cref="JobEntity"/>: the only way to reach the entity of a run.</summary>
internal static class JobRegion
{
    public const string TypeName = "job";

    public static IActorRef Of(ActorSystem system) => ClusterSharding.Get(system).ShardRegion(TypeName);
}
