using CsCheck;
using Sora.Federation.Aggregation;
using Sora.Federation.Aggregation.Strategies;
using Sora.Federation.Aggregation.Updates;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Aggregation;

public class AggregationRoundTests
{
    private const int Parameters = 300;

    public static TheoryData<string> Names => [.. StrategyCatalog.Names];

    /// <summary>The heart of it: any interleaving, any crashes, any folding give the bytes of the plain computation in memory.</summary>
    [Theory]
    [MemberData(nameof(Names))]
    public void Any_order_of_chunks_and_any_crashes_give_the_same_bytes(string name) =>
        Gen.Select(Gen.Int[5, 9], Gen.Int[1, 4], Gen.Int[0, 1_000_000]).Sample((sites, foldEvery, seed) =>
        {
            using var folder = new RoundFolder();
            var strategy = Create(name);
            var model = RoundTesting.Run(strategy, RoundTesting.Values(seed, Parameters), [Updates(strategy, sites, seed + 500)]);
            var updates = Updates(strategy, sites, seed);
            var terms = RoundTesting.Terms(1, updates.Select(update => update.Site)) with { MaxStaleness = 1 };
            var expected = RoundArithmetic.Aggregate(strategy, model, 1, updates);

            var random = new Random(seed);
            var encoded = updates.Select(update => folder.Encode(update.Site, Read(update), update.Weight, update.Round)).ToArray();
            var arrivals = encoded.SelectMany(update => Enumerable.Range(0, update.Manifest.Chunks).Select(chunk => (update, chunk))).ToArray();
            random.Shuffle(arrivals);
            var journal = new HashSet<string>();
            var round = Open();
            foreach (var (update, chunk) in arrivals)
            {
                if (random.Next(10) == 0)
                    round = Open(); // what a new process would do
                if (round.Announce(update.Manifest).Kind == ReceiptKind.Accepted)
                    round.Send(update, chunk);
                if (round.Whole.Contains(update.Manifest.Site) && journal.Add(update.Manifest.Site))
                    round.Admit(update.Manifest.Site);
            }
            var outcome = round.Finish();
            Assert.Equal(expected.Model.Bytes(), outcome.Model.Bytes());
            Assert.Equal(expected.Counted.Select(counted => (counted.Site, counted.Weight, counted.Scale)), outcome.Counted.Select(counted => (counted.Site, counted.Weight, counted.Scale)));
            Assert.Equal(expected.Rejected, outcome.Rejected);
            Assert.Equal(outcome.Model.Bytes(), Open().Finish().Model.Bytes());

            AggregationRound Open()
            {
                var opened = AggregationRound.Begin(strategy, model, terms, folder.Server, foldEvery);
                foreach (var site in journal)
                    opened.Admit(site);
                return opened;
            }
        }, iter: 3);

    [Fact]
    public void Updates_longer_than_a_run_are_aggregated_across_its_borders()
    {
        // Two vectors of 70,000: the border between them lies inside a run and inside a block of int8.
        const int Length = 70_000;
        using var folder = new RoundFolder();
        var strategy = Create("scaffold");
        var model = strategy.Optimizer.Begin(RoundTesting.Values(1, Length));
        var values = Enumerable.Range(0, 3).Select(site => RoundTesting.Values(site, 2 * Length)).ToArray();
        foreach (var encoding in Enum.GetValues<UpdateEncoding>())
        {
            var round = AggregationRound.Begin(strategy, model, RoundTesting.Terms(0, "0", "1", "2"), folder.Server + encoding, foldEvery: 2);
            foreach (var (site, update) in values.Index())
                Assert.Equal(Receipt.Whole, round.SendAll(folder.Encode($"{site}", update, encoding: encoding, chunkBytes: 100_000)));
            var result = round.Finish().Model;
            var tolerance = encoding == UpdateEncoding.Float32 ? 1e-8 : 0.01 / 127;
            for (var i = 0; i < Length; i++)
            {
                Assert.Equal(model.Weights[i] + values.Average(update => (double)update[i]), result.Weights[i], tolerance);
                Assert.Equal(3 / 12.0 * values.Average(update => (double)update[Length + i]), result.State[0][i], tolerance);
            }
        }
    }

    [Fact]
    public void A_part_of_an_update_changes_nothing()
    {
        using var folder = new RoundFolder();
        var strategy = Create("fedavg");
        var model = strategy.Optimizer.Begin(new float[Parameters]);
        var updates = Updates(strategy, 3, 1);
        var round = AggregationRound.Begin(strategy, model, RoundTesting.Terms(0, "site-0", "site-1", "site-2"), folder.Server);
        round.SendAll(folder.Encode("site-0", Read(updates[0]), updates[0].Weight));
        var partial = folder.Encode("site-1", Read(updates[1]), updates[1].Weight);
        round.Announce(partial.Manifest);
        round.Send(partial, 0);
        round.SendAll(folder.Encode("site-2", Read(updates[2]), updates[2].Weight));
        Assert.Equal(["site-0", "site-2"], round.Whole);
        Assert.Equal([new(1, 2)], round.Missing("site-1"));
        Assert.Equal(RoundArithmetic.Aggregate(strategy, model, 0, [updates[0], updates[2]]).Model.Bytes(), round.Finish().Model.Bytes());
    }

    [Fact]
    public void Streaming_strategies_let_updates_go_and_still_know_them()
    {
        using var folder = new RoundFolder();
        var strategy = Create("fedavg");
        var model = strategy.Optimizer.Begin(new float[Parameters]);
        var updates = Updates(strategy, 6, 1).Select(update => folder.Encode(update.Site, Read(update), update.Weight)).ToArray();
        var terms = RoundTesting.Terms(0, updates.Select(update => update.Manifest.Site));
        var round = AggregationRound.Begin(strategy, model, terms, folder.Server, foldEvery: 2);
        foreach (var update in updates)
            round.SendAll(update);
        Assert.Equal(["sum"], Directory.GetFiles(folder.Server).Select(Path.GetFileName));
        Assert.Equal(6, round.Whole.Count);

        // Nothing is counted twice, also by a process that begins here.
        round = AggregationRound.Begin(strategy, model, terms, folder.Server, foldEvery: 2);
        Assert.Equal(Receipt.Whole, round.SendAll(updates[3]));
        Assert.Equal(Receipt.Whole, round.Send(updates[3], 1));
        Assert.Contains("already sent another", round.SendAll(folder.Encode("site-3", RoundTesting.Values(77, Parameters))).Reason);
        Assert.Equal(6, round.Finish().Counted.Count);
    }

    [Fact]
    public void A_crash_between_adding_to_the_sum_and_letting_go_counts_an_update_once()
    {
        using var folder = new RoundFolder();
        var strategy = Create("fedavg");
        var model = strategy.Optimizer.Begin(new float[Parameters]);
        var updates = Updates(strategy, 2, 1).Select(update => folder.Encode(update.Site, Read(update), update.Weight)).ToArray();
        var terms = RoundTesting.Terms(0, "site-0", "site-1");
        var round = AggregationRound.Begin(strategy, model, terms, folder.Server, foldEvery: 10);
        foreach (var update in updates)
            round.SendAll(update);
        var expected = round.Finish();
        var files = Directory.GetFiles(folder.Server).ToDictionary(file => file, File.ReadAllBytes);
        round = AggregationRound.Begin(strategy, model, terms, folder.Server, foldEvery: 2);
        round.Admit("site-0");
        round.Admit("site-1");
        Assert.Equal(["sum"], Directory.GetFiles(folder.Server).Select(Path.GetFileName));
        foreach (var (file, bytes) in files)
            File.WriteAllBytes(file, bytes);

        var outcome = AggregationRound.Begin(strategy, model, terms, folder.Server, foldEvery: 2).Finish();
        Assert.Equal(expected.Model.Bytes(), outcome.Model.Bytes());
        Assert.Equal(expected.Counted, outcome.Counted);
    }

    [Fact]
    public void A_round_is_finished_with_exactly_the_updates_it_was_closed_with()
    {
        using var folder = new RoundFolder();
        var strategy = Create("fedavg");
        var model = strategy.Optimizer.Begin(new float[Parameters]);
        var updates = Updates(strategy, 4, 1);
        var encoded = updates.Select(update => folder.Encode(update.Site, Read(update), update.Weight)).ToArray();
        var round = AggregationRound.Begin(strategy, model, RoundTesting.Terms(0, updates.Select(update => update.Site)), folder.Server, foldEvery: 2);
        foreach (var update in encoded[..2])
            round.SendAll(update); // in the sum
        foreach (var update in encoded[2..])
        {
            round.Announce(update.Manifest);
            for (var chunk = 0; chunk < update.Manifest.Chunks; chunk++)
                round.Send(update, chunk); // whole, but not journaled yet
        }
        var all = encoded.ToDictionary(update => update.Manifest.Site, update => Convert.ToHexStringLower(update.Manifest.Hash.Span));

        Assert.Equal(RoundArithmetic.Aggregate(strategy, model, 0, updates[..3]).Model.Bytes(), round.Finish(Without("site-3")).Model.Bytes());
        Assert.Contains("already holds an update of site site-1", Assert.Throws<SoraException>(() => round.Finish(Without("site-1"))).Message);
        Assert.Contains("not here: elsewhere, site-2", Assert.Throws<SoraException>(
            () => round.Finish(new Dictionary<string, string>(all) { ["elsewhere"] = "00", ["site-2"] = all["site-3"] })).Message);

        Dictionary<string, string> Without(string site) => all.Where(update => update.Key != site).ToDictionary();
    }

    [Fact]
    public void A_model_that_is_not_finite_is_not_taken()
    {
        foreach (var weight in new[] { float.NaN, float.NegativeInfinity })
        {
            var error = Assert.Throws<SoraException>(() => RoundTesting.Run(Create("fedavg"), [0, weight], [new MemoryUpdate("a", 1, [0, 1])]));
            Assert.Contains("parameter 1", error.Message);
        }
    }

    [Fact]
    public void Without_updates_a_round_cannot_be_finished()
    {
        using var folder = new RoundFolder();
        var strategy = Create("fedavg");
        var round = AggregationRound.Begin(strategy, strategy.Optimizer.Begin(new float[4]), RoundTesting.Terms(3, "a"), folder.Server);
        Assert.Contains("Round 3 has no update", Assert.Throws<SoraException>(() => round.Finish()).Message);
    }

    [Fact]
    public void The_folder_of_another_round_is_not_taken()
    {
        using var folder = new RoundFolder();
        var strategy = Create("fedavg");
        var model = strategy.Optimizer.Begin(new float[Parameters]);
        AggregationRound.Begin(strategy, model, RoundTesting.Terms(3, "a"), folder.Server, foldEvery: 1).SendAll(folder.Encode("a", RoundTesting.Values(1, Parameters), round: 3));
        Assert.Contains("is of round 3", Assert.Throws<SoraException>(() => AggregationRound.Begin(strategy, model, RoundTesting.Terms(4, "a"), folder.Server)).Message);
    }

    [Fact]
    public void The_state_of_another_strategy_is_not_taken()
    {
        using var folder = new RoundFolder();
        var model = Create("fedavg").Optimizer.Begin(new float[4]);
        Assert.Contains("fedadam needs 2", Assert.Throws<SoraException>(() => AggregationRound.Begin(Create("fedadam"), model, RoundTesting.Terms(0, "a"), folder.Server)).Message);
    }

    [Fact]
    public void Two_updates_of_a_site_in_a_round_are_refused()
    {
        var strategy = Create("fedavg");
        var update = new MemoryUpdate("a", 1, [1]);
        Assert.Contains("two updates", Assert.Throws<InvalidUpdateException>(
            () => RoundArithmetic.Aggregate(strategy, strategy.Optimizer.Begin([1]), 0, [update, update])).Message);
    }

    private static ServerStrategy Create(string name) => StrategyCatalog.Create(name, name switch
    {
        "fedavg" => new Dictionary<string, double> { ["clipping_norm"] = 0.1 }, // about the norm of the updates: some are clipped
        "fedavgm" => new() { ["min_cosine"] = 0.01 },
        "fedprox" => new() { ["proximal_mu"] = 0.1 },
        "scaffold" => new() { ["total_sites"] = 12 },
        "krum" => new() { ["byzantine_sites"] = 1 },
        "multi_krum" => new() { ["byzantine_sites"] = 1, ["selected_sites"] = 3 },
        _ => [],
    });

    private static MemoryUpdate[] Updates(ServerStrategy strategy, int sites, int seed) =>
        [.. Enumerable.Range(0, sites).Select(site => new MemoryUpdate($"site-{site}", 1 + (seed + site) % 100 / 3.0,
            RoundTesting.Values(seed + site, Parameters * strategy.Optimizer.UpdateVectors), round: site % 2))];

    private static float[] Read(SiteUpdate update)
    {
        var values = new float[update.Length];
        update.Read(0, values);
        return values;
    }
}
