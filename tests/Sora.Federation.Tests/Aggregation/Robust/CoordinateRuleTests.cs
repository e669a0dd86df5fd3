using CsCheck;
using Sora.Federation.Aggregation.Robust;
using Sora.Federation.Aggregation.Updates;

namespace Sora.Federation.Tests.Aggregation.Robust;

public class CoordinateRuleTests
{
    [Theory]
    [InlineData(0.2, 5, 1)]
    [InlineData(0.2, 4, 0)]
    [InlineData(0.25, 8, 2)]
    [InlineData(0.49, 2, 0)]
    [InlineData(0.49, 3, 1)]
    public void Trimmed_mean_cuts_a_part_at_each_end(double beta, int sites, int cut) => Assert.Equal(cut, CoordinateRule.TrimmedMean(beta).Cut(sites));

    [Fact]
    public void Rules_agree_with_sorting_each_parameter() =>
        Gen.Select(Gen.Int[1, 9], Gen.Int[1, 700], Gen.Double[0, 0.49], Gen.Int).Sample((sites, length, beta, seed) =>
        {
            var values = Enumerable.Range(0, sites).Select(site => RoundTesting.Values(seed + site, length)).ToArray();
            var updates = values.Select((v, site) => new Contribution(new MemoryUpdate($"{site}", 1, v))).ToList();
            var cut = (int)(beta * sites);
            Combine(CoordinateRule.TrimmedMean(beta), updates, (i, value) =>
                Assert.Equal(values.Select(v => (double)v[i]).Order().Skip(cut).SkipLast(cut).Average(), value, 1e-12));
            Combine(CoordinateRule.Median, updates, (i, value) =>
            {
                var sorted = values.Select(v => (double)v[i]).Order().ToArray();
                Assert.Equal((sorted[(sites - 1) / 2] + sorted[sites / 2]) / 2, value, 1e-12);
            });
        }, iter: 40);

    [Fact]
    public void Runs_get_shorter_with_more_sites_so_that_memory_stays_bounded()
    {
        Assert.Equal(65536, SiteUpdate.RunOf(6, 1 << 24));
        Assert.Equal(1536, SiteUpdate.RunOf(10_000, 1 << 24));
        Assert.Equal(256, SiteUpdate.RunOf(1 << 20, 1 << 24));
        Assert.Equal(10, SiteUpdate.RunOf(6, 10));
    }

    private static void Combine(CoordinateRule rule, IReadOnlyList<Contribution> updates, Action<int, double> check) =>
        rule.Combine(updates, (first, values, _) =>
        {
            for (var i = 0; i < values.Length; i++)
                check((int)first + i, values.Span[i]);
        });
}
