using System.Collections.Immutable;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Sora.Coordinator.Federations;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Tests.Federations;

public sealed class FederationStoreTests : IDisposable
{
    private static readonly ImmutableSortedSet<string> Sites = ["site-a", "site-b"];

    private readonly string _folder = Directory.CreateTempSubdirectory("sora-store-").FullName;
    private readonly CoordinatorIdentity _identity;
    private readonly float[] _initial = [.. Enumerable.Range(0, TestFederation.Parameters).Select(i => MathF.Sin(i))];
    private readonly ModelVersion _model;

    public FederationStoreTests()
    {
        _identity = new CoordinatorIdentity(new CoordinatorOptions { StateDir = _folder });
        var bytes = MemoryMarshal.AsBytes(_initial.AsSpan()).ToArray();
        Directory.CreateDirectory(Path.Combine(_folder, "federation", "models"));
        File.WriteAllBytes(Path.Combine(_folder, "federation", "models", "0.f32"), bytes);
        _model = new ModelVersion(0, Convert.ToHexStringLower(SHA256.HashData(bytes)));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task The_same_aggregation_by_another_process_gives_the_same_bytes_also_with_noise(bool noise)
    {
        var settings = TestFederation.Settings(rounds: 1) with { DifferentialPrivacy = noise ? new DifferentialPrivacySettings() : null, Strategy = new StrategySettings("fedadam") };
        var key = new RoundKey(1, 1);
        var store = Store(settings);
        AcceptedUpdate[] updates = [await SendAsync(store, key, "site-a"), await SendAsync(store, key, "site-b")];
        var round = new AggregateRound(key, _model, [.. updates]);

        var first = Assert.IsType<RoundAggregated>(await store.AggregateAsync(round, 2, Sites));
        await store.CloseAsync();
        var again = Assert.IsType<RoundAggregated>(await Store(settings).AggregateAsync(round, 2, Sites));

        Assert.Equal(first.Sha256, again.Sha256);
    }

    [Fact]
    public async Task What_comes_late_for_an_attempt_that_is_over_leaves_the_next_one_alone()
    {
        var store = Store(TestFederation.Settings(rounds: 1));
        var (before, now) = (new RoundKey(1, 1), new RoundKey(1, 2));
        var late = TestFederation.Encode("site-b", 1, TestFederation.Train("site-b", 1, _initial));
        await store.ExpectAsync(before, _model, Sites, TestFederation.OfferOf(late, before));
        var (arrival, _) = await store.BeginAsync("site-b", late.Manifest);
        var update = await SendAsync(store, now, "site-a");

        Assert.Null(await store.ExpectAsync(before, _model, Sites, TestFederation.OfferOf(late, before)));
        Assert.Contains("gone on", (await store.AcceptAsync(arrival!, 0, late.ReadChunk(0))).Refusal);
        await store.DiscardAsync(before);

        Assert.IsType<RoundAggregated>(await store.AggregateAsync(new AggregateRound(now, _model, [update]), 1, Sites));
    }

    [Fact]
    public async Task Updates_that_are_lost_make_no_model()
    {
        var store = Store(TestFederation.Settings(rounds: 1));
        var key = new RoundKey(1, 1);
        var update = await SendAsync(store, key, "site-a");
        await store.CloseAsync();
        Directory.Delete(Path.Combine(_folder, "federation", "rounds"), recursive: true);

        var failed = Assert.IsType<AggregationFailed>(await Store(TestFederation.Settings(rounds: 1)).AggregateAsync(new AggregateRound(key, _model, [update]), 1, Sites));

        Assert.Contains("site-a", failed.Reason);
        Assert.False(File.Exists(Path.Combine(_folder, "federation", "models", "1.f32")));
    }

    public void Dispose() => _identity.Dispose();

    private FederationStore Store(FederationSettings settings) =>
        new(new FederatedRun("fed-store", 7, _model, new ChunkLayout(TestFederation.Parameters, 250), settings), _folder, _identity, TimeProvider.System);

    private async Task<AcceptedUpdate> SendAsync(FederationStore store, RoundKey key, string site)
    {
        var update = TestFederation.Encode(site, key.Round, TestFederation.Train(site, key.Round, _initial));
        var offer = TestFederation.OfferOf(update, key);
        Assert.Equal(new Arrived(Whole: false, 0), await store.ExpectAsync(key, _model, Sites, offer));
        var (arrival, _) = await store.BeginAsync(site, update.Manifest);
        for (var chunk = 0; chunk < update.Manifest.Chunks; chunk++)
            Assert.Equal(chunk == update.Manifest.Chunks - 1, (await store.AcceptAsync(arrival!, chunk, update.ReadChunk(chunk))).Stored);
        Assert.Equal(new Arrived(Whole: true, 0), await store.ExpectAsync(key, _model, Sites, offer));
        return new AcceptedUpdate(offer.Id, offer.Weight, offer.Loss, 0, 0);
    }
}
