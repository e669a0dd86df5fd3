using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Sora.Coordinator;
using Sora.Coordinator.Federations;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Cluster.Tests.Federations;

/// <summary>Real sites and a real coordinator, on real connections and disks.</summary>
public sealed class FederatedRoundTests : IDisposable
{
    private const int Parameters = 600;
    private static readonly string[] Names = ["site-a", "site-b", "site-c"];
    private readonly string _folder = Directory.CreateTempSubdirectory("sora-federation-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task Killed_sites_and_a_killed_coordinator_change_no_byte_of_the_model()
    {
        var (_, calm) = await RunAsync("calm", rounds: 4, (_, _) => { });
        var killed = new HashSet<RoundKey>();
        var (events, model) = await RunAsync("kills", rounds: 4, (world, sites) =>
        {
            // In the middle of its training, once each.
            sites[0].BeforeTraining = round => Once(round, 1, sites[0].Kill);
            sites[1].BeforeTraining = round => Once(round, 2, world.Crash);
            sites[2].BeforeTraining = round => Once(round, 3, sites[2].Kill);
        });

        Assert.IsType<FederationFinished>(events[^1]);
        Assert.Equal(3, killed.Count);
        Assert.Equal(calm, model);

        void Once(RoundKey round, int when, Action kill)
        {
            if (round.Round == when && killed.Add(round))
                kill();
        }
    }

    private async Task<(List<RunEvent> Events, float[] Model)> RunAsync(string name, int rounds, Action<World, TrainingSite[]> disturb)
    {
        await using var world = await World.StartAsync(Path.Combine(_folder, name));
        var output = Path.Combine(_folder, name, "output");
        var bytes = MemoryMarshal.AsBytes(Initial().AsSpan()).ToArray();
        Directory.CreateDirectory(Path.Combine(output, "federation", "models"));
        File.WriteAllBytes(Path.Combine(output, "federation", "models", "0.f32"), bytes);
        var submission = new FederationSubmission
        {
            Run = new FederatedRun("fed-formula", 7, new ModelVersion(0, Convert.ToHexStringLower(SHA256.HashData(bytes))), new ChunkLayout(Parameters, 256),
                new FederationSettings { Rounds = rounds, MinAvailableSites = Names.Length, RoundDeadline = 60 }),
            JobJson = JobJson.Write(new TrainingJob { Name = "formula" }),
            OutputDir = output,
        };
        var sites = Names.Select(site => new TrainingSite(Path.Combine(_folder, name), site, world.Host.Address, world.Host.Fingerprint, Path.Combine(world.State, "sites.json"))).ToArray();
        disturb(world, sites);
        var first = await world.Host.SubmitAsync(submission);
        var running = sites.Select(site => site.RunAsync()).ToArray();
        Assert.All(await Task.WhenAll(running).WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken), code => Assert.Equal(ExitCode.Ok, code));
        // Whoever watched a coordinator that died is told by the next one how it ended.
        var events = new List<RunEvent>();
        await foreach (var happened in (world.HasCrashed ? await world.Host.SubmitAsync(submission) : first).Events.WithCancellation(TestContext.Current.CancellationToken))
        {
            events.Add(happened);
            if (happened is FederationFinished or FederationFailed or FederationStopped)
                break;
        }
        return (events, [.. MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(Path.Combine(output, "federation", "models", $"{rounds}.f32")))]);
    }

    private static float[] Initial() => [.. Enumerable.Range(0, Parameters).Select(i => MathF.Sin(i))];

    /// <summary>A coordinator that may die.</summary>
    private sealed class World : IAsyncDisposable
    {
        private CoordinatorOptions _options = null!;
        private Task _crash = Task.CompletedTask;

        public CoordinatorHost Host { get; private set; } = null!;

        public string State => _options.StateDir;

        public bool HasCrashed { get; private set; }

        public static async Task<World> StartAsync(string folder)
        {
            var world = new World { _options = new CoordinatorOptions { StateDir = Path.Combine(folder, "coordinator") } };
            world.Host = await CoordinatorHost.StartAsync(world._options, TestContext.Current.CancellationToken);
            return world;
        }

        /// <summary>Dies without a word and starts again, on the same address.</summary>
        public void Crash() => _crash = CrashAsync();

        public async ValueTask DisposeAsync()
        {
            await _crash;
            await Host.DisposeAsync();
        }

        private async Task CrashAsync()
        {
            HasCrashed = true;
            _options = _options with { ListenUrl = Host.Address, Token = Host.Token };
            await Host.CrashAsync();
            Host = await CoordinatorHost.StartAsync(_options, CancellationToken.None);
        }
    }
}
