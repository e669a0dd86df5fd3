using Sora.Federation.Privacy;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;

namespace Sora.Worker.Tests.Sites;

[Collection(SiteCollection.Name)]
public class SitePrivacyTests
{
    private const string Permits = "{max_epsilon_per_job: 100, max_epsilon_total: 100, max_delta: 1e-5, trust_coordinator_noise: true}";
    private static readonly float[] Model = [.. Enumerable.Range(0, TestRun.Parameters).Select(i => i / 10f)];

    [Fact]
    public async Task Local_noise_is_reserved_before_training_and_added_to_the_clipped_update_before_anything_leaves()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        site.WritePolicy(privacy: Permits);
        var run = TestRun.Of(SettingsOf(PrivacyModel.Local, noise: 0.5));
        var reservedBefore = 0L;
        site.Training.WhileTraining = _ => reservedBefore = Ledger(site).Unsettled;
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        stream.Say(run.Round(server.Publish(0, Model)));
        var offer = await SiteRoundTests.Deliver(stream);
        var sent = SiteRoundTests.Decode(server, offer.Id.Sha256);

        Assert.Equal(1, offer.Weight);
        Assert.Equal(1, reservedBefore);
        Assert.Equal(0, Ledger(site).Unsettled);
        var noise = sent.Zip(Clipped(), (with, without) => with - without).ToArray();
        Assert.Equal(0.5, Math.Sqrt(noise.Sum(value => (double)value * value) / noise.Length), 0.05);
        Assert.Contains("\"kind\":\"spent\"", File.ReadAllText(site.AuditPath));
    }

    [Fact]
    public async Task Noise_of_the_coordinator_is_left_to_it_but_clipped_for_and_counted()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        site.WritePolicy(privacy: Permits);
        var run = TestRun.Of(SettingsOf(PrivacyModel.Central, noise: 2));
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        stream.Say(run.Round(server.Publish(0, Model)));
        var offer = await SiteRoundTests.Deliver(stream);
        var norm = Math.Sqrt(SiteRoundTests.Decode(server, offer.Id.Sha256).Sum(value => (double)value * value));

        Assert.InRange(norm, 0.99, 1);
        Assert.Equal(1, Ledger(site).Reservations);
    }

    [Fact]
    public async Task Training_that_fails_gives_its_reservation_back()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        site.WritePolicy(privacy: Permits);
        site.Training.WhileTraining = _ => throw new SoraException("no", ExitCode.Failure);
        var run = TestRun.Of(SettingsOf(PrivacyModel.Local, noise: 2));
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        stream.Say(run.Round(server.Publish(0, Model)));
        await stream.HearAsync<RoundFailed>();

        Assert.Equal((1, 0), (Ledger(site).Reservations, Ledger(site).Spent.Count));
    }

    [Fact]
    public async Task Attempts_beyond_the_budget_are_not_trained()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        site.WritePolicy(privacy: Permits);
        // The budget of the plan: two rounds, each carried out once.
        var settings = SettingsOf(PrivacyModel.Local, noise: 2) with { Rounds = 2 };
        var epsilon = PrivacyAccountant.Named("prv").Epsilon([new PrivacyEvent(2, 1, 2)], 1e-6);
        var run = TestRun.Of(settings with { DifferentialPrivacy = settings.DifferentialPrivacy! with { TargetEpsilon = epsilon * 1.0001 } });
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        for (var attempt = 1; attempt <= 2; attempt++)
        {
            stream.Say(run.Round(server.Publish(0, Model), 1, attempt));
            await stream.HearAsync<UpdateOffered>();
        }
        stream.Say(run.Round(server.Publish(0, Model), 1, attempt: 3));
        var failed = await stream.HearAsync<RoundFailed>();

        Assert.Contains("epsilon would be", failed.Reason);
        Assert.Equal(2, site.Training.Trainings);
    }

    [Fact]
    public async Task What_other_runs_have_spent_counts_against_the_policy()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        var settings = SettingsOf(PrivacyModel.Local, noise: 2) with { Rounds = 1 };
        var once = PrivacyAccountant.Named("prv").Epsilon([new PrivacyEvent(2, 1, 1)], 1e-6);
        site.WritePolicy(privacy: FormattableString.Invariant($"{{max_epsilon_per_job: {once * 1.5:0.####}, max_epsilon_total: 100, max_delta: 1e-5}}"));
        var first = TestRun.Of(settings);
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(first, site.Key.Public);
        stream.Say(first.Round(server.Publish(0, Model)));
        await SiteRoundTests.Deliver(stream);
        stream.Say(new Dismissed(first.Run.Run, "the run is finished", ExitCode.Ok));
        await site.EndAsync();
        site.Start();
        // The same job once more, as another run.
        var hello = await (await server.AcceptAsync()).LetInAsync(TestRun.Of(settings, run: "fed-2"), site.Key.Public);

        Assert.Contains("privacy.max_epsilon_per_job", hello.Unfit);
    }

    [Fact]
    public async Task A_run_whose_ledger_was_lost_is_not_gone_on_with()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        site.WritePolicy(privacy: Permits);
        var run = TestRun.Of(SettingsOf(PrivacyModel.Local, noise: 2));
        site.Start();
        await (await server.AcceptAsync()).LetInAsync(run, site.Key.Public);
        await site.KillAsync();
        Directory.Delete(Path.Combine(site.State, "privacy"), recursive: true);
        site.Start();
        var again = await server.AcceptAsync();
        await Assert.ThrowsAsync<InvalidOperationException>(() => again.LetInAsync(run, site.Key.Public));

        Assert.Equal(ExitCode.InvalidInput, await site.EndAsync());
        Assert.Contains("There is no privacy ledger", site.Log.Text);
    }

    private static FederationSettings SettingsOf(PrivacyModel model, double noise) => new()
    {
        Rounds = 3,
        DifferentialPrivacy = new DifferentialPrivacySettings(model, noise, ClippingNorm: 1, TargetEpsilon: 90, Delta: 1e-6),
    };

    private static LedgerReport Ledger(TestSite site) => BudgetLedger.Read(Path.Combine(site.State, "privacy", "chest-1", "fed-1.ledger"));

    private static float[] Clipped()
    {
        float[] update = [.. Model.Select(value => value * 0.5f + 1.25f)];
        UpdateClipping.Clip(update, 1);
        return update;
    }
}
