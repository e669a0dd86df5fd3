using Sora.Federation.Aggregation;
using Sora.Federation.Aggregation.Strategies;
using Sora.Federation.Aggregation.Updates;

namespace Sora.Federation.Tests.Aggregation.Robust;

/// <summary>
/// Malicious sites among honest ones whose updates are a common direction plus noise. What must hold:
/// median and trimmed mean stay between the least and the greatest honest value of each parameter; Krum returns an honest update;
/// Multi-Krum, norm and cosine screens leave the malicious out, so the result is a mean of honest ones; clipping at C moves the mean
/// of n updates of which m are malicious by at most 2 m C / n.
/// </summary>
public class AttackTests
{
    private const int Length = 500;

    public static TheoryData<string, int, int> Attacks => new()
    {
        { "sign-flip", 6, 1 }, { "sign-flip", 8, 2 }, { "scaled", 6, 1 }, { "scaled", 8, 2 }, { "flipped and scaled", 6, 1 }, { "flipped and scaled", 8, 2 },
    };

    [Theory]
    [MemberData(nameof(Attacks))]
    public void Coordinate_rules_stay_within_the_honest_values(string attack, int sites, int malicious)
    {
        var (honest, all) = Updates(attack, sites, malicious);
        foreach (var strategy in new[] { StrategyCatalog.Create("median"), Create("trimmed_mean", ("trim_fraction", 0.25)) })
        {
            var result = Aggregate(strategy, all).Model.Weights;
            for (var i = 0; i < Length; i++)
                Assert.InRange(result[i], honest.Min(values => values[i]), honest.Max(values => values[i]));
        }
    }

    [Theory]
    [MemberData(nameof(Attacks))]
    public void Krum_keeps_an_honest_update(string attack, int sites, int malicious)
    {
        var (honest, all) = Updates(attack, sites, malicious);
        var result = Aggregate(Create("krum", ("byzantine_sites", malicious)), all).Model.Weights;
        Assert.Contains(honest, values => values.SequenceEqual(result));
    }

    [Theory]
    [MemberData(nameof(Attacks))]
    public void Multi_Krum_keeps_honest_updates_only_and_says_why_not_the_others(string attack, int sites, int malicious)
    {
        var (honest, all) = Updates(attack, sites, malicious);
        var outcome = Aggregate(Create("multi_krum", ("byzantine_sites", malicious), ("selected_sites", sites - malicious)), all);
        AssertMean(honest, outcome.Model.Weights);
        Assert.Equal(Malicious(malicious), outcome.Rejected.Select(site => site.Site));
        Assert.All(outcome.Rejected, site => Assert.Contains("Krum score", site.Reason));
    }

    [Theory]
    [MemberData(nameof(Attacks))]
    public void Cosine_and_norm_screens_find_the_malicious(string attack, int sites, int malicious)
    {
        var (honest, all) = Updates(attack, sites, malicious);
        var outcome = Aggregate(Create("fedavg", ("min_cosine", 0), ("max_norm_ratio", 3)), all);
        AssertMean(honest, outcome.Model.Weights);
        Assert.Equal(Malicious(malicious), outcome.Rejected.Select(site => site.Site));
        Assert.All(outcome.Rejected, site => Assert.Contains(attack == "sign-flip" ? "cosine -" : "norm", site.Reason));
    }

    [Theory]
    [MemberData(nameof(Attacks))]
    public void Clipping_bounds_what_the_malicious_can_do(string attack, int sites, int malicious)
    {
        var (honest, all) = Updates(attack, sites, malicious);
        var clip = honest.Max(Norm);
        var result = Aggregate(Create("fedavg", ("clipping_norm", clip)), all).Model.Weights;
        var distance = Norm([.. result.Select((value, i) => value - (float)honest.Average(values => values[i]))]);
        Assert.True(distance <= 2.0 * malicious * clip / sites * 1.0001, $"{distance} > 2 x {malicious} x {clip} / {sites}");
    }

    [Fact]
    public void Clipped_updates_never_exceed_the_norm()
    {
        var outcome = Aggregate(Create("fedavg", ("clipping_norm", 0.3)), [new MemoryUpdate("a", 17, RoundTesting.Values(1, Length, 5))]);
        Assert.Equal(0.3, Norm(outcome.Model.Weights), 1e-6);
        Assert.True(Assert.Single(outcome.Counted).Scale < 0.01);
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void A_site_that_sends_what_is_not_finite_is_out_and_the_others_count(float value)
    {
        using var folder = new RoundFolder();
        var strategy = StrategyCatalog.Create("fedavg");
        var round = AggregationRound.Begin(strategy, strategy.Optimizer.Begin(new float[4]), RoundTesting.Terms(0, "a", "b"), folder.Server);
        Assert.Equal(Receipt.Whole, round.SendAll(folder.Encode("a", [1, 2, 3, 4])));

        float[] poison = [0, value, 0, 0];
        var bytes = System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(poison).ToArray();
        var hash = System.Security.Cryptography.SHA256.HashData(bytes);
        Assert.Equal(Receipt.Accepted, round.Announce(new UpdateManifest("b", 0, 4, 1, UpdateEncoding.Float32, 512, hash, hash)));
        Assert.Equal(ReceiptKind.Refused, round.Accept("b", 0, 0, 0, bytes).Kind);

        var outcome = round.Finish();
        Assert.Equal([1, 2, 3, 4], outcome.Model.Weights);
        Assert.Contains("arameter 1 ", Assert.Single(outcome.Rejected).Reason);
        Assert.Throws<InvalidUpdateException>(() => new MemoryUpdate("b", 1, poison));
    }

    [Fact]
    public void A_wrong_shape_is_refused()
    {
        var strategy = StrategyCatalog.Create("fedavg");
        var error = Assert.Throws<InvalidUpdateException>(() => RoundArithmetic.Aggregate(strategy, strategy.Optimizer.Begin(new float[4]), 0, [new MemoryUpdate("b", 1, new float[5])]));
        Assert.Contains("has 5 parameters", error.Message);
    }

    private static (float[][] Honest, MemoryUpdate[] All) Updates(string attack, int sites, int malicious)
    {
        var common = RoundTesting.Values(99, Length, 0.1);
        var all = Enumerable.Range(0, sites).Select(site => RoundTesting.Values(site, Length, 0.02).Zip(common, (noise, value) => value + noise).ToArray()).ToArray();
        var factor = attack switch { "sign-flip" => -1f, "scaled" => 100f, _ => -100f };
        var honest = all[malicious..];
        return (honest, [.. all.Select((values, site) => site < malicious
            ? new MemoryUpdate($"evil-{site}", 1, [.. values.Select(value => value * factor)])
            : new MemoryUpdate($"honest-{site}", 1, values))]);
    }

    private static IEnumerable<string> Malicious(int malicious) => Enumerable.Range(0, malicious).Select(site => $"evil-{site}");

    private static RoundOutcome Aggregate(ServerStrategy strategy, IEnumerable<SiteUpdate> updates) =>
        RoundArithmetic.Aggregate(strategy, strategy.Optimizer.Begin(new float[Length]), 0, updates);

    private static void AssertMean(float[][] honest, float[] result)
    {
        for (var i = 0; i < Length; i++)
            Assert.Equal(honest.Average(values => (double)values[i]), result[i], 1e-7);
    }

    private static double Norm(float[] values) => Math.Sqrt(values.Sum(value => (double)value * value));

    private static ServerStrategy Create(string name, params (string Name, double Value)[] parameters) =>
        StrategyCatalog.Create(name, parameters.ToDictionary(parameter => parameter.Name, parameter => parameter.Value));
}
