using Sora.Coordinator.Federations;
using Sora.Federation.Rounds;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Tests.Federations;

/// <summary>A coordinator and sites that speak the real stream with real keys.</summary>
public sealed class FederationTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Three_sites_and_three_rounds_of_federated_averaging_give_the_mean_computed_by_hand()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var federation = new TestFederation(coordinator);
        var run = await coordinator.Host.SubmitAsync(federation.Submission);

        var sites = new[] { "site-a", "site-b", "site-c" }.Select(site => federation.TakePartAsync(site, Cancel)).ToArray();
        var events = await TestFederation.ToEndAsync(run, sites);

        var expected = federation.Initial;
        for (var round = 1; round <= 3; round++)
        {
            expected = TestFederation.Average(expected, round, "site-a", "site-b", "site-c");
            AssertClose(expected, federation.Model(round));
        }
        Assert.Equal([1, 2, 3], events.OfType<RoundCommitted>().Select(committed => committed.Round));
        var finished = Assert.IsType<FederationFinished>(events[^1]);
        Assert.Equal(events.OfType<RoundCommitted>().Last().ModelSha256, finished.ModelSha256);
        Assert.All(await Task.WhenAll(sites), farewell => Assert.Equal(0, farewell.ExitCode));
        Assert.False(Directory.EnumerateDirectories(Path.Combine(federation.Output, "federation", "rounds")).Any());
    }

    [Fact]
    public async Task A_site_that_vanishes_in_a_round_is_not_in_it_and_the_quorum_goes_on()
    {
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { AbsenceLimit = TimeSpan.FromMilliseconds(50) });
        using var federation = new TestFederation(coordinator, settings: TestFederation.Settings(rounds: 1) with { Quorum = 2 });
        var run = await coordinator.Host.SubmitAsync(federation.Submission);
        var sites = new[] { "site-a", "site-b" }.Select(site => federation.TakePartAsync(site, Cancel)).ToArray();
        await using (var third = await federation.JoinAsync("site-c"))
        {
            var announced = await third.HearAsync<RoundAnnounced>();
            var update = TestFederation.Encode("site-c", 1, TestFederation.Train("site-c", 1, federation.Initial));
            await third.SayAsync(new UpdateOffered(third.Run, TestFederation.OfferOf(update, announced.Round)));
            Assert.Equal(0, (await third.HearAsync<UploadFrom>()).NextChunk);
            Assert.False((await third.SendAsync(update, count: 2)).Stored);
            third.Die();
        }

        var events = await TestFederation.ToEndAsync(run, sites);

        AssertClose(TestFederation.Average(federation.Initial, 1, "site-a", "site-b"), federation.Model(1));
        Assert.Equal("gone", Assert.Single(events.OfType<RoundCommitted>()).Sites.Single(share => share.Site == "site-c").Outcome);
        Assert.Equal("site-c", Assert.Single(events.OfType<SiteGone>()).Site);
    }

    [Fact]
    public async Task A_site_that_dials_again_sends_only_what_is_missing_of_its_update()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var federation = new TestFederation(coordinator, settings: TestFederation.Settings(rounds: 1, sites: 1));
        var run = await coordinator.Host.SubmitAsync(federation.Submission);
        var update = TestFederation.Encode("site-a", 1, TestFederation.Train("site-a", 1, federation.Initial));
        Assert.Equal(3, update.Manifest.Chunks);
        var before = await federation.JoinAsync("site-a");
        var key = (await before.HearAsync<RoundAnnounced>()).Round;
        await before.SayAsync(new UpdateOffered(before.Run, TestFederation.OfferOf(update, key)));
        await before.HearAsync<UploadFrom>();
        Assert.False((await before.SendAsync(update, count: 2)).Stored);
        before.Die();

        await using var again = await federation.JoinAsync("site-a", key);
        await again.SayAsync(new UpdateOffered(again.Run, TestFederation.OfferOf(update, key)));
        Assert.Equal(2, (await again.HearAsync<UploadFrom>()).NextChunk);
        Assert.True((await again.SendAsync(update, from: 2)).Stored);
        await again.HearAsync<UpdateAcknowledged>();
        await again.HearAsync<EvaluateModel>();
        await again.SayAsync(new ModelEvaluated(again.Run, 1, 0.5, 10));

        var events = await TestCoordinator.ToEndAsync(run);
        Assert.Equal(0.5, Assert.IsType<FederationFinished>(events[^1]).EvalLoss);
        AssertClose(TestFederation.Average(federation.Initial, 1, "site-a"), federation.Model(1));
    }

    [Fact]
    public async Task Bytes_that_are_not_the_offered_ones_are_refused_and_the_site_is_told()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var federation = new TestFederation(coordinator, settings: TestFederation.Settings(rounds: 1, sites: 1) with { MaxAttempts = 1 });
        var run = await coordinator.Host.SubmitAsync(federation.Submission);
        await using var site = await federation.JoinAsync("site-a");
        var key = (await site.HearAsync<RoundAnnounced>()).Round;
        var offered = TestFederation.Encode("site-a", 1, TestFederation.Train("site-a", 1, federation.Initial));
        var other = TestFederation.Encode("site-a", 1, federation.Initial);

        Assert.Contains("not asked for", (await site.SendAsync(offered)).Reason);
        await site.SayAsync(new UpdateOffered(site.Run, TestFederation.OfferOf(offered, key)));
        await site.HearAsync<UploadFrom>();
        Assert.Contains("not asked for", (await site.SendAsync(other)).Reason);
        Assert.Contains("not the one that was announced", (await site.SendAsync(offered, content: other.ReadChunk)).Reason);
        // Nothing of that has spoilt the update itself.
        Assert.True((await site.SendAsync(offered)).Stored);
        await site.HearAsync<UpdateAcknowledged>();
        await run.StopAsync("enough");
        await TestCoordinator.ToEndAsync(run);
    }

    [Fact]
    public async Task An_update_that_is_not_finite_does_not_count()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var federation = new TestFederation(coordinator, settings: TestFederation.Settings(rounds: 1, sites: 2) with { Quorum = 1 });
        var run = await coordinator.Host.SubmitAsync(federation.Submission);
        var good = federation.TakePartAsync("site-a", Cancel);
        await using var bad = await federation.JoinAsync("site-b");
        var key = (await bad.HearAsync<RoundAnnounced>()).Round;
        var poison = new float[TestFederation.Parameters];
        poison[5] = 1e20f;
        var update = TestFederation.Encode("site-b", 1, poison);
        await bad.SayAsync(new UpdateOffered(bad.Run, TestFederation.OfferOf(update, key)));
        await bad.HearAsync<UploadFrom>();

        Assert.Contains("parameter 5", (await bad.SendAsync(update)).Reason);
        Assert.Contains("parameter 5", (await bad.HearAsync<UpdateRefused>()).Reason);
        await bad.HearAsync<EvaluateModel>();
        await bad.SayAsync(new ModelEvaluated(bad.Run, 1, 1, 1));
        var events = await TestFederation.ToEndAsync(run, good);
        AssertClose(TestFederation.Average(federation.Initial, 1, "site-a"), federation.Model(1));
        Assert.Equal("failed", Assert.Single(events.OfType<RoundCommitted>()).Sites.Single(share => share.Site == "site-b").Outcome);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public async Task A_coordinator_that_dies_in_a_round_goes_on_to_the_same_model(int survivors)
    {
        var settings = TestFederation.Settings(rounds: 2);
        var undisturbed = await RunAsync(settings, _ => Task.CompletedTask);
        var disturbed = await RunAsync(settings, async federation =>
        {
            // Some have delivered when it dies, one has not even half.
            await using var third = await federation.JoinAsync("site-c");
            var key = (await third.HearAsync<RoundAnnounced>()).Round;
            var update = TestFederation.Encode("site-c", key.Round, TestFederation.Train("site-c", key.Round, federation.Initial));
            await third.SayAsync(new UpdateOffered(third.Run, TestFederation.OfferOf(update, key)));
            await third.HearAsync<UploadFrom>();
            await third.SendAsync(update, count: survivors);
            await federation.Coordinator.CrashAsync();
        });

        Assert.Equal(undisturbed, disturbed);
    }

    [Fact]
    public async Task A_coordinator_that_dies_again_and_again_goes_on_to_the_same_model()
    {
        var settings = TestFederation.Settings(rounds: 5);
        var undisturbed = await RunAsync(settings, _ => Task.CompletedTask);
        var disturbed = await RunAsync(settings, async federation =>
        {
            var third = federation.TakePartAsync("site-c", Cancel);
            for (var round = 1; round <= 3; round++)
            {
                while (!File.Exists(federation.ModelPath(round)))
                    await Task.Delay(5, Cancel);
                await federation.Coordinator.CrashAsync();
            }
            await third;
        });

        Assert.Equal(undisturbed, disturbed);
    }

    /// <summary>Two sites take part from the beginning; the third when the disturbance is over.</summary>
    private static async Task<string> RunAsync(FederationSettings settings, Func<TestFederation, Task> disturb)
    {
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { AbsenceLimit = TimeSpan.FromSeconds(20) });
        using var federation = new TestFederation(coordinator, settings: settings);
        await coordinator.Host.SubmitAsync(federation.Submission);
        string[] sites = ["site-a", "site-b", "site-c"];
        foreach (var site in sites)
            federation.KeyOf(site);
        var others = sites[..2].Select(site => federation.TakePartAsync(site, Cancel)).ToList();
        await disturb(federation);
        if (!File.Exists(federation.ModelPath(settings.Rounds)))
            others.Add(federation.TakePartAsync("site-c", Cancel));
        await Task.WhenAll(others);
        var watched = await TestCoordinator.ToEndAsync(await coordinator.Host.WatchAsync("fed-test"));
        return Assert.IsType<FederationFinished>(watched[^1]).ModelSha256;
    }

    private static void AssertClose(float[] expected, float[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (var i = 0; i < expected.Length; i++)
            Assert.Equal(expected[i], actual[i], 1e-6);
    }
}
