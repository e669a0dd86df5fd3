using Akka.Actor;
using Akka.Cluster;
using Sora.Coordinator.Runs;

namespace Sora.Coordinator.Tests.Cluster;

/// <summary>Three coordinators in this process that share a journal.</summary>
internal sealed class TestCluster : IAsyncDisposable
{
    private readonly List<CoordinatorOptions> _options = [];
    private readonly List<Gate> _gates = [];

    private TestCluster()
    {
    }

    /// <summary>Folder of the state of all of them.</summary>
    public string Folder { get; } = Directory.CreateTempSubdirectory("sora-cluster-").FullName;

    /// <summary>Those that are up.</summary>
    public List<CoordinatorHost> Hosts { get; } = [];

    /// <param name="journal">Connection string of the journal.</param>
    /// <param name="change">Other options.</param>
    /// <param name="behindGates">They reach each other through gates, which <see cref="Cut"/> closes.</param>
    public static async Task<TestCluster> StartAsync(string journal, Func<CoordinatorOptions, CoordinatorOptions>? change = null, bool behindGates = false)
    {
        var cluster = new TestCluster();
        int[] ports = [.. Enumerable.Range(0, 3).Select(_ => Ports.Free())];
        if (behindGates)
            cluster._gates.AddRange(ports.Select(port => new Gate(port)));
        string[] seeds = behindGates ? [.. cluster._gates.Select(gate => gate.Address)] : [.. ports.Select(port => $"127.0.0.1:{port}")];
        foreach (var (port, seed) in ports.Zip(seeds))
        {
            var options = new CoordinatorOptions { StateDir = cluster.Folder, JournalConnection = journal, ClusterListen = $"127.0.0.1:{port}", ClusterAdvertise = seed, ClusterSeeds = seeds, Token = "token", CorpusPatience = TimeSpan.FromSeconds(5) };
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

    /// <summary>Nobody reaches anybody any more that is not connected already; or everybody does again.</summary>
    public void Cut(bool cut) => _gates.ForEach(gate => gate.IsOpen = !cut);

    /// <summary>Starts one that is gone again, on its addresses.</summary>
    public Task<CoordinatorHost> StartAgainAsync(int number) => CoordinatorHost.StartAsync(_options[number], TestContext.Current.CancellationToken);

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
        foreach (var gate in _gates)
            await gate.DisposeAsync();
        Directory.Delete(Folder, recursive: true);
    }

    /// <summary>Until each of those that are up sees all of them as full members.</summary>
    public async Task IsUpAsync()
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
