using Akka.Actor;
using Akka.Cluster;
using Akka.Hosting;
using Microsoft.Extensions.Logging;

namespace Sora.Coordinator.Configuration;

/// <summary>
/// Who founds a cluster. The first seed does when none of the others answers, and cannot know whether they are not there or only cut
/// off from it. So nobody becomes a full member, and begins to work, before a majority of the seeds has joined: two clusters cannot
/// both have one. A founder that stays alone ends, and looks for the others anew when it is started again.
/// </summary>
internal static partial class ClusterFounding
{
    /// <summary>How many coordinators a new cluster needs. Of two there is no majority but both, and one of them must do.</summary>
    public static int Majority(int seeds) => seeds > 2 ? (seeds / 2) + 1 : 1;

    public static AkkaConfigurationBuilder FoundWithMajority(this AkkaConfigurationBuilder builder, CoordinatorOptions options, int seeds)
    {
        var majority = Majority(seeds);
        var log = options.LoggerFactory.CreateLogger(typeof(ClusterFounding));
        if (seeds > 0)
            builder.AddStartup((system, _) => Cluster.Get(system).RegisterOnMemberUp(() => LogMember(log)));
        if (seeds > 1)
            builder.AddStartup((system, _) => SayWhoIsWaitedFor(system, options, log));
        if (majority == 1)
            return builder;
        return builder
            .AddHocon($"akka.cluster.min-nr-of-members = {majority}", HoconAddMode.Prepend)
            .AddStartup((system, registry) => system.Scheduler.Advanced.ScheduleRepeatedly(options.FoundingLimit, options.FoundingLimit, () =>
            {
                // Nobody at all: it has founded none, and asks the others until one answers.
                var members = Cluster.Get(system).State.Members;
                if (members.Count == 0 || members.Count >= majority || members.Any(member => member.Status is not (MemberStatus.Joining or MemberStatus.WeaklyUp)))
                    return;
                LogAlone(log, members.Count, seeds, options.FoundingLimit.TotalSeconds, majority);
                _ = system.Terminate();
            }));
    }

    /// <summary>One that finds no cluster asks on for ever: only the first seed founds one.</summary>
    private static void SayWhoIsWaitedFor(ActorSystem system, CoordinatorOptions options, ILogger log)
    {
        var (_, self, seeds) = ClusterAddress.Of(options);
        if (self == seeds[0])
            return;
        system.Scheduler.Advanced.ScheduleRepeatedly(options.FoundingLimit / 6, options.FoundingLimit * 5, () =>
        {
            if (Cluster.Get(system).State.Members.Count == 0)
                LogWaits(log, seeds[0]);
        });
    }

    [LoggerMessage(1302, LogLevel.Warning, "This coordinator waits for the first of --seeds, {First}: it founds the cluster, and no other that belongs to one answers. Start it; if its machine is lost, put another first in --seeds, on all coordinators, and start them again")]
    private static partial void LogWaits(ILogger log, ClusterAddress first);

    [LoggerMessage(1301, LogLevel.Information, "This coordinator is a member of the cluster")]
    private static partial void LogMember(ILogger log);

    [LoggerMessage(1300, LogLevel.Error, "Only {Here} of {Seeds} coordinators are here after {Seconds:0} s, and it takes {Majority} to found a cluster: the others are not started, or cannot be reached. This one ends; started again, it looks for them anew")]
    private static partial void LogAlone(ILogger log, int here, int seeds, double seconds, int majority);
}
