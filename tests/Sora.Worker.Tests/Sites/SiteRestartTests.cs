using Sora.Federation.Privacy;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;
using Sora.Worker.Sites;

namespace Sora.Worker.Tests.Sites;

[Collection(SiteCollection.Name)]
public class SiteRestartTests
{
    private static readonly float[] Model = new float[TestRun.Parameters];

    // With local privacy every training gives other bytes, and a second update would be a release that nobody has counted.
    private static readonly FederationSettings Private = new()
    {
        Rounds = 3,
        DifferentialPrivacy = new DifferentialPrivacySettings(PrivacyModel.Local, NoiseMultiplier: 2, ClippingNorm: 1, TargetEpsilon: 20, Delta: 1e-6),
    };

    public static TheoryData<int, bool> Deaths { get; } = new(Enumerable.Range(0, 4).SelectMany(at => new[] { (at, false), (at, true) }));

    /// <summary>The records of a round: taken, reserved, update ready, left.</summary>
    [Theory]
    [MemberData(nameof(Deaths))]
    public async Task Whenever_a_site_dies_an_attempt_has_one_update_and_one_release(int at, bool after)
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        site.WritePolicy(privacy: "{max_epsilon_per_job: 20, max_epsilon_total: 20, max_delta: 1e-5}");
        var died = new TaskCompletionSource();
        site.OpenJournal = path => died.Task.IsCompleted ? SiteJournal.Open(path) : new DyingJournal(SiteJournal.Open(path), at, after, () => died.TrySetResult());
        var run = TestRun.Of(Private);
        site.Start();
        var offered = new HashSet<UpdateOffer>();
        var stream = await server.AcceptAsync();
        var lives = 1;
        await stream.LetInAsync(run, site.Key.Public);
        stream.Say(run.Round(server.Publish(0, Model)));
        var delivered = false;
        while (!delivered)
        {
            switch (await stream.WordAsync())
            {
                case UpdateOffered { Offer: var offer }:
                    offered.Add(offer);
                    stream.Say(new UploadFrom(run.Run.Run, offer.Id, 0));
                    await stream.StoredAsync();
                    stream.Say(new UpdateAcknowledged(run.Run.Run, offer.Id));
                    // The next round is the end of this one.
                    stream.Say(new RoundOver(run.Run.Run, offer.Id.Round, "closed"));
                    stream.Say(run.Round(server.Publish(1, Model), round: 2));
                    break;
                case RoundAccepted { Round.Round: 2 }:
                    delivered = true;
                    break;
                case null:
                    lives++;
                    await died.Task.WaitAsync(Patience.Token);
                    await site.RestartAsync();
                    stream = await server.AcceptAsync();
                    await stream.LetInAsync(run, site.Key.Public);
                    stream.Say(run.Round(server.Publish(offered.Count, Model), round: offered.Count + 1));
                    break;
            }
        }
        await site.KillAsync();

        Assert.Equal(2, lives);
        Assert.Single(offered);
        Assert.All(server.Chunks.GroupBy(chunk => chunk.Chunk), chunk => Assert.Single(chunk.Select(one => Convert.ToHexString(one.Content)).Distinct()));
        // One release for each of the two rounds; where the crash came between ledger and journal, one too many, never one too few.
        var ledger = BudgetLedger.Read(Path.Combine(site.State, "privacy", "chest-1", "fed-1.ledger"));
        Assert.InRange(ledger.Spent.Sum(release => release.Count), 1, at == 1 && !after ? 3 : 2);
    }

    [Fact]
    public async Task A_site_that_dies_while_it_sends_sends_the_rest_of_the_same_bytes()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        site.WritePolicy(privacy: "{max_epsilon_per_job: 20, max_epsilon_total: 20, max_delta: 1e-5}");
        var run = TestRun.Of(Private);
        server.BreaksAfter = 1;
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        stream.Say(run.Round(server.Publish(0, Model)));
        var offer = (await stream.HearAsync<UpdateOffered>()).Offer;
        stream.Say(new UploadFrom(run.Run.Run, offer.Id, 0));
        await SiteRoundTests.Until(() => server.Chunks.Count == 1);
        server.BreaksAfter = int.MaxValue;
        await site.RestartAsync();
        var again = await server.AcceptAsync();
        var hello = await again.LetInAsync(run, site.Key.Public);
        again.Say(run.Round(server.Publish(0, Model)));
        var repeated = (await again.HearAsync<UpdateOffered>()).Offer;
        again.Say(new UploadFrom(run.Run.Run, repeated.Id, 1));
        await again.StoredAsync();

        Assert.Equal(offer.Id.Round, hello.WorkingOn);
        Assert.Equal(offer, repeated);
        Assert.Equal([0, 1, 2, 3], server.Chunks.Select(chunk => chunk.Chunk));
        SiteRoundTests.Decode(server, offer.Id.Sha256);
        Assert.Equal(1, site.Training.Trainings);
    }

    [Fact]
    public async Task An_update_whose_file_is_damaged_is_never_replaced_by_another()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        var run = TestRun.Of();
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        stream.Say(run.Round(server.Publish(0, Model)));
        await stream.HearAsync<UpdateOffered>();
        await site.KillAsync();
        var file = Path.Combine(site.State, "runs", "fed-1", "updates", "1-1.update");
        var bytes = File.ReadAllBytes(file);
        bytes[17] ^= 1;
        File.WriteAllBytes(file, bytes);
        site.Start();
        var again = await server.AcceptAsync();
        await again.LetInAsync(run, site.Key.Public);
        again.Say(run.Round(server.Publish(0, Model)));
        var offer = (await again.HearAsync<UpdateOffered>()).Offer;
        again.Say(new UploadFrom(run.Run.Run, offer.Id, 0));
        var failed = await again.HearAsync<RoundFailed>();

        Assert.Contains("is damaged, and another one must not be made", failed.Reason);
        Assert.Equal(1, site.Training.Trainings);
        Assert.Empty(server.Chunks);
    }
}
