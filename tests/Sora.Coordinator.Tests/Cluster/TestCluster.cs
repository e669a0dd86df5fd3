using Akka.Actor;
using Akka.Cluster;
using Sora.Coordinator.Runs;

namespace Sora.Coordinator.Tests.Cluster;

/// <summary>Three coordinators in this process that share a journal.</summary>
internal sealed class TestCluster : IAsyncDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sora-cluster-").FullName;
    private readonly List<CoordinatorOptions> _options = [];

    private TestCluster()
    {
    }

    /// <summary>Those that are up.</summary>
    public List<CoordinatorHost> Hosts { get; } = [];

    public static async Task<TestCluster> StartAsync(string journal, Func<CoordinatorOptions, CoordinatorOptions>? change = null)
    {
        var cluster = new TestCluster();
        string[] seeds = [.. Enumerable.Range(0, 3).Select(_ => $"127.0.0.1:{Ports.Free()}")];
        foreach (var seed in seeds)
        {
            var options = new CoordinatorOptions { StateDir = cluster._folder, JournalConnection = journal, ClusterListen = seed, ClusterSeeds = seeds, Token = "token", CorpusPatience = TimeSpan.FromSeconds(5) };
            cluster._options.Add(change?.Invoke(options) ?? options);
        }
        cluster.Hosts.AddRange(await Task.WhenAll(cluster._options.Select(options => CoordinatorHost.StartAsync(options, TestContext.Current.CancellationToken))));
        await cluster.IsUpAsync();
        return cluster;
    }

    /// <summary>The coordinator that has the entity of a run; null while none has.</summary>
    public async Task<CoordinatorHost?> OwnerAsync(string run)
    {
        foreach (var host in Hosts)
        {
            var (system, _) = await host.Actors;
            try
            {
                await system.ActorSelection($"/system/sharding/{JobRegion.TypeName}/*/{run}").ResolveOne(TimeSpan.FromMilliseconds(200), TestContext.Current.CancellationToken);
                return host;
            }
            catch (ActorNotFoundException)
            {
                // Not here.
            }
        }
        return null;
    }

    /// <summary>One of them dies without a word.</summary>
    public Task CrashAsync(CoordinatorHost host)
    {
        Hosts.Remove(host);
        return host.CrashAsync();
    }

    /// <summary>One of them ends in good order.</summary>
    public async Task LeaveAsync(CoordinatorHost host)
    {
        Hosts.Remove(host);
        await host.DisposeAsync();
    }

    public async ValueTask DisposeAsync()
    {
        // They need not say goodbye to each other one by one.
        await Task.WhenAll(Hosts.Select(host => host.CrashAsync()));
        Directory.Delete(_folder, recursive: true);
    }

    private async Task IsUpAsync()
    {
        using var patience = TestCoordinator.Patience();
        foreach (var host in Hosts)
        {
            var (system, _) = await host.Actors;
            var members = Akka.Cluster.Cluster.Get(system);
            while (members.State.Members.Count(member => member.Status == MemberStatus.Up) < Hosts.Count)
                await Task.Delay(50, patience.Token);
        }
    }
}
