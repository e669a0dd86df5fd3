using Sora.Coordinator.Federations;
using Sora.Coordinator.Tests.Cluster;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Tests.Federations;

[Collection(nameof(PostgresServer))]
public sealed class FederationFailoverTests(PostgresServer postgres)
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Sites_find_the_coordinator_that_has_the_run_also_when_another_one_takes_over()
    {
        await using var cluster = await TestCluster.StartAsync(await postgres.CreateDatabaseAsync(), options => options with { AbsenceLimit = TimeSpan.FromSeconds(30) });
        var dialled = 0;
        using var federation = new TestFederation(cluster.Folder, () => cluster.Hosts[Interlocked.Increment(ref dialled) % cluster.Hosts.Count].Address, settings: TestFederation.Settings(rounds: 4, sites: 2));
        await cluster.Hosts[0].SubmitAsync(federation.Submission);
        var owner = await OwnerAsync(cluster, federation);
        await using (var astray = await FakeSite.DialAsync(cluster.Hosts.First(host => host != owner).Address, federation.KeyOf("site-a"), federation.Submission.Run.Run))
            Assert.Equal((uint)ExitCode.Unreachable, (await astray.HearAsync()).Refused.ExitCode);
        var sites = new[] { "site-a", "site-b" }.Select(site => federation.TakePartAsync(site, Cancel)).ToArray();
        while (!File.Exists(federation.ModelPath(1)))
            await Task.Delay(5, Cancel);

        await cluster.CrashAsync(owner);
        await Task.WhenAll(sites);

        var expected = federation.Initial;
        for (var round = 1; round <= 4; round++)
            expected = TestFederation.Average(expected, round, "site-a", "site-b");
        var finished = Assert.IsType<FederationFinished>((await TestCoordinator.ToEndAsync(await cluster.Hosts[0].WatchAsync("fed-test")))[^1]);
        Assert.Equal(4, finished.Rounds);
        Assert.Equal(expected[77], federation.Model(4)[77], 1e-6);
    }

    /// <summary>Asks them in turn, as sites do.</summary>
    private static async Task<CoordinatorHost> OwnerAsync(TestCluster cluster, TestFederation federation)
    {
        while (true)
        {
            foreach (var host in cluster.Hosts)
            {
                await using var site = await FakeSite.DialAsync(host.Address, federation.KeyOf("site-a"), federation.Submission.Run.Run);
                if ((await site.HearAsync()).SiteChallenge is not null)
                    return host;
            }
        }
    }
}
