using System.Diagnostics;
using Grpc.Net.Client;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Tests.Cluster;

[Collection(nameof(PostgresServer))]
public sealed class FailoverTests(PostgresServer postgres)
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task When_the_coordinator_of_a_run_dies_or_leaves_another_takes_over_and_the_generation_goes_on(bool dies)
    {
        await using var cluster = await TestCluster.StartAsync(await postgres.CreateDatabaseAsync());
        await cluster.Hosts[1].SubmitAsync(TestCoordinator.Submission("lasting", workers: 3));
        await using var first = await FakeWorker.DialAsync(cluster.Hosts[0], "w1");
        await using var second = await FakeWorker.DialAsync(cluster.Hosts[1], "w2");
        await using var third = await FakeWorker.DialAsync(cluster.Hosts[2], "w3");
        var generation = await FakeWorker.BeginAsync(first, second, third);
        LastingWorker[] workers = [.. new[] { first, second, third }.Select(worker => new LastingWorker(worker, generation, () => cluster.Hosts))];
        var staying = Task.WhenAll(workers.Select(worker => worker.StayAsync()));
        await TestCoordinator.ReachesAsync(cluster.Hosts[0], "lasting", RunPhase.Running);
        var owner = (await cluster.OwnerAsync("lasting"))!;
        var survivor = cluster.Hosts.First(host => host != owner);
        var stepped = new TaskCompletionSource();
        var watched = WatchAsync(survivor, "lasting", stepped);
        await workers[0].StepAsync(1);
        await stepped.Task.WaitAsync(Cancel);

        var crashed = Stopwatch.GetTimestamp();
        await (dies ? cluster.CrashAsync(owner) : cluster.LeaveAsync(owner));
        // The members compute on meanwhile.
        await TestCoordinator.ReachesAsync(survivor, "lasting", RunPhase.Running);
        TestContext.Current.SendDiagnosticMessage($"{(dies ? "crash" : "leave")}: another coordinator has the run and all its workers after {Stopwatch.GetElapsedTime(crashed).TotalSeconds:0.0} s");
        Assert.NotSame(owner, await cluster.OwnerAsync("lasting"));
        await workers[0].StepAsync(2);
        for (var index = 0; index < workers.Length; index++)
            await workers[index].FinishAsync(saves: index == 0);
        await staying;
        var events = await watched;

        // Nobody was told anything: the generation went on as if nothing had happened.
        Assert.All(workers, worker => Assert.Empty(worker.Heard));
        Assert.Equal(1, Assert.Single(events.OfType<GenerationFormed>()).Generation);
        Assert.Equal([1L, 2L], events.OfType<StepCommitted>().Select(step => step.Step));
        Assert.Single(events.OfType<RunStarted>());
        Assert.IsType<RunFinished>(events[^1]);
    }

    private static async Task<List<RunEvent>> WatchAsync(CoordinatorHost host, string run, TaskCompletionSource stepped)
    {
        using var patience = TestCoordinator.Patience();
        var events = new List<RunEvent>();
        await foreach (var happened in (await host.WatchAsync(run)).WithCancellation(patience.Token))
        {
            events.Add(happened);
            if (happened is StepCommitted)
                stepped.TrySetResult();
        }
        return events;
    }

    [Fact]
    public async Task Any_coordinator_gives_out_the_corpus_of_any_run_and_knows_its_end()
    {
        await using var cluster = await TestCluster.StartAsync(
            await postgres.CreateDatabaseAsync(), options => options with { OpenCorpus = (folder, hash) => (folder, hash) == ("/corpus", "corpus") ? new MemoryPieces() : null });
        await cluster.Hosts[0].SubmitAsync(TestCoordinator.Submission("everywhere", workers: 1));
        await using var worker = await FakeWorker.DialAsync(cluster.Hosts[2], "w1");
        var generation = await FakeWorker.BeginAsync(worker);

        foreach (var host in cluster.Hosts)
        {
            using var channel = GrpcChannel.ForAddress(host.Address);
            var manifest = await new WorkerGateway.WorkerGatewayClient(channel).GetManifestAsync(new ManifestRequest { CorpusHash = "corpus" }, FakeWorker.Bearer(host.Token), cancellationToken: Cancel);
            Assert.Contains("manifest", manifest.Manifest.ToStringUtf8());
        }
        await worker.FinishRunAsync(generation);
        Assert.NotNull((await worker.HearAsync()).Goodbye);
        foreach (var host in cluster.Hosts)
            Assert.IsType<RunFinished>((await TestCoordinator.ToEndAsync(await host.WatchAsync("everywhere")))[^1]);
    }
}
