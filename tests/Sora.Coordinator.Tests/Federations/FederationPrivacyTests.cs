using Sora.Coordinator.Federations;
using Sora.Federation.Audit;
using Sora.Federation.Identity;
using Sora.Federation.Privacy;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Tests.Federations;

/// <summary>Central differential privacy, and what the coordinator writes down.</summary>
public sealed class FederationPrivacyTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Noise_of_the_announced_size_is_added_to_the_sum_of_the_clipped_updates()
    {
        const double clippingNorm = 0.5, noiseMultiplier = 2;
        await using var coordinator = await TestCoordinator.StartAsync();
        using var federation = new TestFederation(coordinator, settings: Private(rounds: 1, noiseMultiplier, clippingNorm, epsilon: 100));
        var run = await coordinator.Host.SubmitAsync(federation.Submission);
        var events = await TestFederation.ToEndAsync(run, federation.TakePartAsync("site-a", Cancel), federation.TakePartAsync("site-b", Cancel));

        // All updates are longer than the clipping norm, and weigh the same whatever their sites claim.
        var clean = new double[TestFederation.Parameters];
        foreach (var site in new[] { "site-a", "site-b" })
        {
            var update = TestFederation.Train(site, 1, federation.Initial);
            var norm = Math.Sqrt(update.Sum(value => (double)value * value));
            for (var i = 0; i < clean.Length; i++)
                clean[i] += update[i] * clippingNorm / norm / 2;
        }
        var noise = federation.Model(1).Select((value, i) => value - federation.Initial[i] - clean[i]).ToArray();
        var deviation = Math.Sqrt(noise.Average(value => value * value));
        var expected = noiseMultiplier * clippingNorm / 2;
        // 600 draws: the estimate's own deviation is below 3 %; five of them.
        Assert.InRange(deviation, 0.85 * expected, 1.15 * expected);
        Assert.InRange(noise.Average(), -5 * expected / Math.Sqrt(noise.Length), 5 * expected / Math.Sqrt(noise.Length));

        var ledger = BudgetLedger.Read(Path.Combine(federation.Output, "federation", "budget.ledger"));
        Assert.Equal((1, 0), (ledger.Reservations, ledger.Unsettled));
        Assert.Equal(ledger.SpentEpsilon, Assert.Single(events.OfType<RoundCommitted>()).Epsilon!.Value, 1e-9);
    }

    [Fact]
    public async Task A_round_that_the_budget_does_not_cover_is_never_begun_and_ends_the_run()
    {
        var two = PrivacyAccountant.Named("prv").Epsilon([new PrivacyEvent(2, 1, 2)], 1e-5);
        await using var coordinator = await TestCoordinator.StartAsync();
        using var federation = new TestFederation(coordinator, settings: Private(rounds: 3, 2, 0.5, epsilon: two + 0.1));
        var run = await coordinator.Host.SubmitAsync(federation.Submission);

        var events = await TestFederation.ToEndAsync(run, federation.TakePartAsync("site-a", Cancel), federation.TakePartAsync("site-b", Cancel));

        Assert.Equal([1, 2], events.OfType<RoundBegan>().Select(began => began.Round));
        var failed = Assert.IsType<FederationFailed>(events[^1]);
        Assert.Contains("budget does not cover", failed.Message);
        Assert.Equal((2, 2), (failed.Round, events.OfType<RoundCommitted>().Count()));
    }

    [Fact]
    public async Task A_damaged_ledger_grants_nothing()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var federation = new TestFederation(coordinator, settings: Private(rounds: 2, 2, 0.5, epsilon: 100));
        Directory.CreateDirectory(Path.Combine(federation.Output, "federation"));
        File.WriteAllText(Path.Combine(federation.Output, "federation", "budget.ledger"), "something else\n");
        var run = await coordinator.Host.SubmitAsync(federation.Submission);

        var events = await TestFederation.ToEndAsync(run, federation.TakePartAsync("site-a", Cancel), federation.TakePartAsync("site-b", Cancel));

        Assert.Contains("is damaged", Assert.IsType<FederationFailed>(events[^1]).Message);
        Assert.Empty(events.OfType<RoundBegan>());
    }

    [Fact]
    public async Task A_private_run_goes_on_after_its_coordinator_died_and_no_attempt_is_paid_for_twice()
    {
        await using var coordinator = await TestCoordinator.StartAsync(options => options with { AbsenceLimit = TimeSpan.FromSeconds(20) });
        using var federation = new TestFederation(coordinator, settings: Private(rounds: 3, 2, 0.5, epsilon: 100));
        await coordinator.Host.SubmitAsync(federation.Submission);
        var sites = new[] { "site-a", "site-b" }.Select(site => federation.TakePartAsync(site, Cancel)).ToArray();
        while (!File.Exists(federation.ModelPath(1)))
            await Task.Delay(5, Cancel);
        await coordinator.CrashAsync();
        await Task.WhenAll(sites);

        var ended = (await TestCoordinator.ToEndAsync(await coordinator.Host.WatchAsync("fed-test")))[^1];
        var ledger = BudgetLedger.Read(Path.Combine(federation.Output, "federation", "budget.ledger"));
        Assert.IsType<FederationFinished>(ended);
        Assert.Equal((3, 0), (ledger.Reservations, ledger.Unsettled));
    }

    [Fact]
    public void The_noise_of_an_attempt_is_the_same_when_it_is_drawn_again_and_of_another_one_is_not()
    {
        var (one, other) = (Directory.CreateTempSubdirectory("sora-noise-").FullName, Directory.CreateTempSubdirectory("sora-noise-").FullName);

        var first = Draw(one);

        Assert.Equal(first, Draw(one));
        Assert.NotEqual(first, Draw(other));
        Assert.InRange(first.Select(value => (int)value).Average(), 120, 135);

        static byte[] Draw(string folder)
        {
            using var random = SeededRandom.InFolder(folder);
            // In pieces of any size, across what is generated at a time.
            var bytes = new byte[10_000];
            random.GetBytes(bytes.AsSpan(0, 1));
            random.GetBytes(bytes.AsSpan(1, 4999));
            random.GetBytes(bytes.AsSpan(5000));
            return bytes;
        }
    }

    [Fact]
    public async Task Everything_that_happens_is_in_an_audit_log_that_the_coordinators_key_vouches_for()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        using var federation = new TestFederation(coordinator, settings: Private(rounds: 2, 2, 0.5, epsilon: 100));
        var run = await coordinator.Host.SubmitAsync(federation.Submission);
        using (var wrong = IdentityKey.Create())
        {
            await using var liar = await FakeSite.DialAsync(coordinator.Host.Address, federation.KeyOf("site-a"));
            await liar.ProveAsync(with: wrong);
            Assert.NotNull((await liar.HearAsync()).Refused);
        }
        await TestFederation.ToEndAsync(run, federation.TakePartAsync("site-a", Cancel), federation.TakePartAsync("site-b", Cancel));

        var entries = new List<AuditEvent>();
        using var log = new FileStream(Path.Combine(federation.Output, "federation", "audit.jsonl"), FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var key = KeyFiles.ReadPublic(Path.Combine(coordinator.Folder, "coordinator.key.pub")).Key;
        var verification = AuditVerifier.Read(log, new AuditExpectations(Key: key), entry => entries.Add(entry.Event!));

        Assert.Equal(coordinator.Host.Fingerprint, key.Fingerprint);
        Assert.True(verification.IsSound, string.Join("; ", verification.Problems));
        Assert.Single(entries.OfType<PeerRefused>());
        Assert.Equal(["site-a", "site-b"], entries.OfType<PeerJoined>().Select(joined => joined.Name).Distinct().Order());
        Assert.Equal(4, entries.OfType<MessageReceived>().Count(received => received.Type == "update"));
        Assert.Equal([1, 2], entries.OfType<PrivacySpent>().Select(spent => spent.Round));
        Assert.Equal([1, 2], entries.OfType<Sora.Federation.Audit.RoundClosed>().Select(closed => closed.Round));
    }

    private static FederationSettings Private(int rounds, double noiseMultiplier, double clippingNorm, double epsilon) => TestFederation.Settings(rounds, sites: 2) with
    {
        DifferentialPrivacy = new DifferentialPrivacySettings(PrivacyModel.Central, noiseMultiplier, clippingNorm, epsilon, 1e-5),
    };
}
