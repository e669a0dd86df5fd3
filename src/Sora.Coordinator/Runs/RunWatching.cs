using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Akka.Actor;
using Sora.Federation.Rounds;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Runs;

/// <summary>Watches runs from outside the actors.</summary>
internal static class RunWatching
{
    /// <summary>Submits a run and watches it to its end, whether somebody reads or not.</summary>
    public static (ChannelReader<RunEvent> Events, IActorRef Watch) Submit(ActorSystem system, IJobMessage submission)
    {
        var events = NewEvents();
        return (events.Reader, system.ActorOf(RunWatch.Submitting(submission, events.Writer)));
    }

    /// <summary>Watches a run for as long as somebody reads.</summary>
    public static async IAsyncEnumerable<RunEvent> Watch(ActorSystem system, string run, long from, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        var events = NewEvents();
        var watch = system.ActorOf(RunWatch.Watching(run, from, events.Writer));
        try
        {
            await foreach (var happened in events.Reader.ReadAllAsync(cancellationToken))
                yield return happened;
        }
        finally
        {
            system.Stop(watch);
        }
    }

    /// <summary>Whether nothing more happens in the run, of whatever kind it is.</summary>
    public static bool Ends(RunEvent happened) => happened is RunFinished or RunStopped or RunFailed or FederationFinished or FederationStopped or FederationFailed;

    private static Channel<RunEvent> NewEvents() => Channel.CreateUnbounded<RunEvent>(new UnboundedChannelOptions { SingleReader = true });
}
