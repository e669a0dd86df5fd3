using Sora.Federation.Aggregation.Robust;
using Sora.Federation.Aggregation.Updates;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Aggregation.Robust;

public class KrumTests
{
    [Fact]
    public void Scores_are_sums_of_the_squared_distances_to_the_nearest()
    {
        // Values 0.2, 0.5, 1 in 4 dimensions: squared distances 4 x 0.09 = 0.36, 4 x 0.25 = 1, 4 x 0.64 = 2.56.
        // n = 3, f = 1: one neighbour each, so 0.36, 0.36, 1: the first two are kept by a Multi-Krum of 2, and their mean is 0.35.
        var distances = Krum.SquaredDistances([Constant("a", 0.2f, 4), Constant("b", 0.5f, 4), Constant("c", 1, 4)]);
        Assert.Equal(0.36, distances[0, 1], 1e-6);
        Assert.Equal(2.56, distances[2, 0], 1e-6);
        var scores = Krum.Scores(distances, 1);
        Assert.Equal(0.36, scores[0], 1e-6);
        Assert.Equal(0.36, scores[1], 1e-6);
        Assert.Equal(1, scores[2], 1e-6);
    }

    [Fact]
    public void Distances_over_many_runs_are_those_of_the_whole()
    {
        const int Length = 20_003;
        var values = Enumerable.Range(0, 3).Select(site => RoundTesting.Values(site, Length)).ToArray();
        var distances = Krum.SquaredDistances([.. values.Select((v, site) => new Contribution(new MemoryUpdate($"{site}", 1, v)))]);
        for (var a = 0; a < 3; a++)
            for (var b = 0; b < 3; b++)
                Assert.Equal(values[a].Zip(values[b], (x, y) => ((double)x - y) * ((double)x - y)).Sum(), distances[a, b], 1e-9);
    }

    [Fact]
    public void Too_few_updates_for_the_guarantee_are_refused() =>
        Assert.Contains("needs 5 updates, here are 4", Assert.Throws<SoraException>(
            () => new Krum(1).Screen([.. Enumerable.Range(0, 4).Select(site => Constant($"{site}", site, 2))])).Message);

    [Fact]
    public void A_tie_goes_to_the_first_name()
    {
        var screening = new Krum(0).Screen([Constant("a", 1, 2), Constant("b", 1, 2), Constant("c", 1, 2)]);
        Assert.Equal("a", Assert.Single(screening.Kept).Update.Site);
    }

    private static Contribution Constant(string site, float value, int length) => new(new MemoryUpdate(site, 1, [.. Enumerable.Repeat(value, length)]));
}
