using Akka;
using Akka.Actor;
using Akka.Cluster;
using Akka.Cluster.Hosting;
using Akka.Cluster.Hosting.SBR;
using Akka.Cluster.Sharding;
using Akka.Hosting;
using Akka.Persistence;
using Akka.Persistence.Sql;
using Akka.Remote.Hosting;
using Microsoft.Extensions.Logging;
using Sora.Coordinator.Corpora;
using Sora.Coordinator.Federations;
using Sora.Coordinator.Runs;
using Sora.Coordinator.Serialization;
using Sora.Coordinator.Workers;
using AkkaLogLevel = Akka.Event.LogLevel;

namespace Sora.Coordinator.Configuration;

/// <summary>How the actor system of a coordinator is put together, in production and in tests alike.</summary>
internal static class AkkaConfiguration
{
    public const string SystemName = "sora";
    public const string Role = "controller";

    // Settings that Akka.Hosting has no property for. The short intervals spare a single node the waits that protect
    // clusters of hundreds. The long limits let the first start, which is mostly compilation, through on a machine whose
    // cores are all taken by training.
    private const string Settings =
        """
        akka {
          stdout-loglevel = OFF
          log-dead-letters = off
          log-dead-letters-during-shutdown = off
          coordinated-shutdown {
            run-by-clr-shutdown-hook = off
            exit-clr = off
          }
          actor.creation-timeout = 60s
          actor.serializers.json = "Sora.Coordinator.Serialization.RefusingSerializer, Sora.Coordinator"
          remote.dot-netty.tcp {
            # A generation of a thousand workers, with the addresses of all, is one message.
            maximum-frame-size = 4000000b
            send-buffer-size = 8000000b
            receive-buffer-size = 8000000b
          }
          cluster {
            log-info = off
            seed-node-timeout = 3s
            failure-detector {
              heartbeat-interval = 500ms
              acceptable-heartbeat-pause = 3s
            }
            gossip-interval = 200ms
            leader-actions-interval = 200ms
            periodic-tasks-initial-delay = 50ms
            down-removal-margin = 1s
            split-brain-resolver {
              stable-after = 5s
              down-all-when-unstable = off
            }
            singleton.hand-over-retry-interval = 200ms
            sharding {
              retry-interval = 200ms
              handoff-timeout = 20s
              distributed-data.durable.keys = []
              distributed-data.majority-min-cap = 1
              # Two of three coordinators are enough to go on, which is what they are three for.
              coordinator-state.write-majority-plus = 0
              coordinator-state.read-majority-plus = 0
              # A run that moves makes its workers dial again, and gains nothing.
              rebalance-interval = 20d
            }
          }
        }
        """;

    private static ShardOptions Sharding => new()
    {
        Role = Role,
        StateStoreMode = StateStoreMode.DData,
        // The pools remember which runs go on; see there.
        RememberEntities = false,
        // A run that computes one long step says nothing meanwhile; it leaves memory when it is over.
        ShouldPassivateIdleEntities = false,
    };

    public static void ConfigureCoordinator(this AkkaConfigurationBuilder builder, CoordinatorOptions options, Journal journal) => builder
        .AddHocon(Settings, HoconAddMode.Prepend)
        .ConfigureLoggers(loggers =>
        {
            loggers.LogLevel = AkkaLogLevel.WarningLevel;
            loggers.ClearLoggers();
            loggers.AddLoggerFactory(new FrameworkLoggers(options.LoggerFactory));
        })
        .WithStrictSerialization()
        .WithCustomSerializer("sora", CoordinatorSerializer.Bindings, system => new CoordinatorSerializer(system))
        .ConfigureJournal(journal)
        .ConfigureCluster(options);

    /// <summary>Coordinators alone are members; one without others founds its cluster at once instead of looking for them.</summary>
    private static AkkaConfigurationBuilder ConfigureCluster(this AkkaConfigurationBuilder builder, CoordinatorOptions options)
    {
        var (listen, advertise, seeds) = ClusterAddress.Of(options);
        builder
            .WithRemoting(new RemoteOptions { HostName = listen.Host, Port = listen.Port, PublicHostName = advertise.Host, PublicPort = advertise.Port })
            .WithClustering(new ClusterOptions
            {
                Roles = [Role],
                SeedNodes = [.. seeds.Select(seed => $"akka.tcp://{SystemName}@{seed}")],
                SplitBrainResolver = new KeepMajorityOption { Role = Role },
            })
            .FoundWithMajority(options, seeds.Count);
        return seeds.Count > 0 ? builder : builder.AddStartup((system, _) =>
        {
            var cluster = Cluster.Get(system);
            cluster.Join(cluster.SelfAddress);
        });
    }

    private static AkkaConfigurationBuilder ConfigureJournal(this AkkaConfigurationBuilder builder, Journal journal) => builder
        .AddHocon(SqlPersistence.DefaultConfiguration, HoconAddMode.Append)
        .AddHocon(
            $$"""
            akka.persistence {
              journal {
                plugin = "akka.persistence.journal.sql"
                sql {
                  connection-string = "{{journal.ConnectionString.Replace("\\", "\\\\").Replace("\"", "\\\"")}}"
                  provider-name = "{{journal.ProviderName}}"
                  auto-initialize = {{(journal.CreatesTable ? "on" : "off")}}
                  circuit-breaker.call-timeout = 60s
                  recovery-event-timeout = 60s
                  tag-write-mode = Csv # nothing is tagged: saves a table and a join
                }
              }
              snapshot-store.plugin = "akka.persistence.no-snapshot-store"
            }
            """,
            HoconAddMode.Prepend)
        // The journal takes as long to come up as the cluster: let them do so side by side.
        .AddStartup((system, _) => Persistence.Instance.Apply(system).JournalFor(journalPluginId: null));

    public static AkkaConfigurationBuilder ConfigureWorkers(this AkkaConfigurationBuilder builder, CorpusDirectory corpora, CoordinatorOptions options) => builder
        .WithActors((system, registry) => registry.Register<WorkerPool>(
            system.ActorOf(WorkerPool.Props(corpora, options.LoggerFactory.CreateLogger<WorkerPool>()), WorkerPool.Name)));

    public static AkkaConfigurationBuilder ConfigureFederations(this AkkaConfigurationBuilder builder, CoordinatorIdentity identity, CoordinatorOptions options) => builder
        .WithActors((system, registry) => registry.Register<FederationPool>(system.ActorOf(Props.Create(() => new FederationPool()), FederationPool.Name)))
        .WithShardRegion<FederationEntity>(
            FederationRegion.TypeName,
            (_, registry, _) => run => FederationEntity.Props(run, registry.Get<FederationPool>(), identity, options),
            new JobMessageExtractor(),
            Sharding);

    public static AkkaConfigurationBuilder ConfigureJobs(this AkkaConfigurationBuilder builder, Journal journal, CoordinatorOptions options) => builder
        .WithShardRegion<JobEntity>(
            JobRegion.TypeName,
            (_, registry, _) => run => JobEntity.Props(run, registry.Get<WorkerPool>(), options),
            new JobMessageExtractor(),
            Sharding)
        .AddStartup((system, _) => CoordinatedShutdown.Get(system).AddTask(CoordinatedShutdown.PhaseBeforeServiceUnbind, "close-streams", () =>
        {
            system.EventStream.Publish(Closing.Instance);
            return Task.FromResult(Done.Instance);
        }))
        .AddStartup((_, registry) =>
        {
            var unfinished = options.RecoverRuns ? journal.ListRuns().Where(run => !run.IsOver).ToLookup(run => FederationRegion.Owns(run.Run), run => run.Run) : null;
            registry.Get<WorkerPool>().Tell(new TakeUpRuns([.. unfinished?[false] ?? []]));
            registry.Get<FederationPool>().Tell(new TakeUpRuns([.. unfinished?[true] ?? []]));
        });
}
