using Akka.Actor;
using Akka.Cluster.Sharding;
using Sora.Coordinator.Federations;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Runs;

/// <summary>The shard region of <see cref="JobEntity"/>: the only way to reach the entity of a run.</summary>
internal static class JobRegion
{
    public const string TypeName = "job";

    // A question may be lost with the coordinator it went to, and the next one needs its time to take over.
    private static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    public static IActorRef Of(ActorSystem system) => ClusterSharding.Get(system).ShardRegion(TypeName);

    /// <summary>The region of a run: federated ones have another.</summary>
    public static IActorRef Of(ActorSystem system, string run) => ClusterSharding.Get(system).ShardRegion(FederationRegion.Owns(run) ? FederationRegion.TypeName : TypeName);

    /// <summary>Asks what the coordinators know of a run; for calls from outside the actors.</summary>
    /// <exception cref="SoraException">None of them answers.</exception>
    public static Task<RunStatus> QueryAsync(ActorSystem system, IJobMessage question, CancellationToken cancellationToken) => QueryAsync<RunStatus>(system, question, cancellationToken);

    /// <summary>The same for either kind of run.</summary>
    /// <exception cref="SoraException">None of them answers.</exception>
    public static async Task<T> QueryAsync<T>(ActorSystem system, IJobMessage question, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(Limit);
        while (true)
        {
            try
            {
                return await Of(system, question.Run).Ask<T>(question, AnswerLimit, limit.Token);
            }
            catch (AskTimeoutException) when (!limit.IsCancellationRequested)
            {
                // Ask again.
            }
            catch (Exception exception) when (exception is AskTimeoutException or OperationCanceledException && !cancellationToken.IsCancellationRequested)
            {
                throw new SoraException($"No coordinator has answered for run {question.Run} within {Limit.TotalSeconds:0} s. See their logs.", ExitCode.Unreachable, exception);
            }
        }
    }
}
