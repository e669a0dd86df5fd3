using CsCheck;
using Sora.Federation.Rounds;

namespace Sora.Federation.Tests.Rounds;

public sealed class CohortSelectionTests
{
    private static string[] Names(int count) => [.. Enumerable.Range(1, count).Select(number => $"site-{number:000}")];

    [Fact]
    public void The_order_in_which_sites_came_does_not_matter()
    {
        var settings = new FederationSettings { FractionTrain = 0.3 };

        Gen.Select(Gen.Int[1, 60], Gen.Int[1, 100], Gen.Int).Sample((count, round, shuffle) =>
        {
            var names = Names(count);
            var shuffled = names.ToArray();
            new Random(shuffle).Shuffle(shuffled);
            Assert.Equal(CohortSelection.Choose(7, round, names, settings).Sites, CohortSelection.Choose(7, round, shuffled, settings).Sites);
        }, iter: 200);
    }

    [Theory]
    [InlineData(10, 1.0, 1.0, null, 10, 10, 10)]
    [InlineData(30, 0.1, 1.0, null, 3, 3, 3)]
    [InlineData(100, 0.1, 1.3, null, 13, 10, 10)]
    [InlineData(100, 0.1, 1.3, 8, 13, 10, 8)]
    [InlineData(10, 0.1, 1.0, 4, 4, 4, 4)]
    [InlineData(5, 1.0, 1.3, 3, 5, 5, 3)]
    public void Fraction_quorum_and_over_selection_decide_how_many(int eligible, double fraction, double over, int? quorum, int asked, int target, int needed)
    {
        var cohort = CohortSelection.Choose(1, 1, Names(eligible), new FederationSettings { FractionTrain = fraction, OverSelection = over, Quorum = quorum });

        Assert.Equal((asked, target, needed), (cohort.Sites.Length, cohort.Target, cohort.Quorum));
    }

    [Fact]
    public void Every_site_gets_its_turn()
    {
        var turns = Enumerable.Range(1, 1_000).SelectMany(round => CohortSelection.Choose(3, round, Names(20), new FederationSettings { FractionTrain = 0.25 }).Sites).CountBy(site => site).ToDictionary();

        // 250 expected, standard deviation 13.7: five of them either way.
        Assert.Equal(20, turns.Count);
        Assert.All(turns.Values, count => Assert.InRange(count, 181, 319));
    }

    [Fact]
    public void Another_seed_and_another_round_pick_others()
    {
        var settings = new FederationSettings { FractionTrain = 0.1 };

        Assert.NotEqual(CohortSelection.Choose(1, 1, Names(100), settings).Sites, CohortSelection.Choose(2, 1, Names(100), settings).Sites);
        Assert.NotEqual(CohortSelection.Choose(1, 1, Names(100), settings).Sites, CohortSelection.Choose(1, 2, Names(100), settings).Sites);
    }

    [Fact]
    public void A_newcomer_takes_at_most_one_place()
    {
        var settings = new FederationSettings { FractionTrain = 0.2 };
        for (var round = 1; round <= 50; round++)
        {
            var before = CohortSelection.Choose(5, round, Names(50), settings).Sites;
            var after = CohortSelection.Choose(5, round, [.. Names(50), "newcomer"], settings with { FractionTrain = 10.0 / 51 }).Sites;
            Assert.True(before.Except(after).Count() <= 1);
        }
    }

    [Fact]
    public void Sites_an_attempt_waited_for_in_vain_are_asked_last()
    {
        var settings = new FederationSettings { FractionTrain = 0.5 };
        var first = CohortSelection.Choose(1, 1, Names(4), settings).Sites;

        Assert.Empty(first.Intersect(CohortSelection.Choose(1, 1, Names(4), settings, first.ToHashSet()).Sites));
        Assert.Equal(Names(4), CohortSelection.Choose(1, 1, Names(4), new FederationSettings(), first.ToHashSet()).Sites);
    }
}
