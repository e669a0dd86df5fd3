using System.Numerics;
using Sora.Federation.SecureAggregation;

namespace Sora.Federation.Tests.SecureAggregation;

public class DropoutPatternTests
{
    // The larger the part that may vanish, the more patterns end with a sum, and the longer the walk.
    private static ThreatModel Threat(double dropoutRate) => new(0, dropoutRate, AdversaryClass.CuriousServer);

    [Theory]
    [InlineData(2, 0.5)]
    [InlineData(3, 0.5)]
    [InlineData(4, 0.5)]
    [InlineData(5, 0.5)]
    [InlineData(6, 0.34)]
    public void For_every_assignment_of_dropout_stages_to_sites_the_sum_is_exact_or_the_round_fails_with_a_reason(int sites, double dropoutRate)
    {
        var explorer = new DropoutExplorer(new SecureRoundHarness(sites, parameters: 3, Threat(dropoutRate)));

        explorer.Explore();

        Assert.Equal((long)Math.Pow(6, sites), explorer.Assignments);
        Assert.True(explorer.Sums > 0);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void The_same_holds_with_real_elliptic_curves(int sites)
    {
        var pairs = new CachedP256Pairs();
        var explorer = new DropoutExplorer(new SecureRoundHarness(sites, parameters: 3, Threat(0.5), pairs.For));

        explorer.Explore();

        Assert.Equal((long)Math.Pow(6, sites), explorer.Assignments);
    }
}

/// <summary>
/// Walks the tree of who is left after each stage. A path stands for all assignments of dropout stages that begin like it: where
/// a round fails early, what the sites would have done later makes no difference.
/// </summary>
internal sealed class DropoutExplorer(SecureRoundHarness harness)
{
    private const int Stages = 5;

    public long Assignments { get; private set; }

    public int Sums { get; private set; }

    public void Explore()
    {
        foreach (var left in SubsetsOf((1 << harness.Names.Length) - 1))
        {
            var server = SitesOf(left).Aggregate(harness.StartServer(), (server, site) => server.Receive(harness.NewClient(site).AdvertiseKeys()));
            var closed = server.CloseAdvertising();
            if (!Ended(closed, left, stage: 0, left))
                ExploreSharing(closed, left);
        }
    }

    private void ExploreSharing(SecureAggregationServer advertised, int before)
    {
        var messages = Answers(before, site => Advertised(site, advertised).Shares);
        foreach (var left in SubsetsOf(before))
        {
            var closed = SitesOf(left).Aggregate(advertised, (server, site) => server.Receive(messages[site])).CloseSharing();
            if (!Ended(closed, left, stage: 1, before))
                ExploreInput(closed, left);
        }
    }

    private void ExploreInput(SecureAggregationServer server, int before)
    {
        var shared = (Server: server, Deliveries: server.Deliveries().ToDictionary(delivery => delivery.Site));
        var inputs = Answers(before, site => Masked(site, shared).Input);
        foreach (var left in SubsetsOf(before))
        {
            var sum = server.OpenSum();
            foreach (var site in SitesOf(left))
                sum.Add(inputs[site]);
            var closed = server.CloseMaskedInput(sum.Close());
            if (!Ended(closed, left, stage: 2, before))
                ExploreSigning(shared, closed, left, inputs);
        }
    }

    private void ExploreSigning((SecureAggregationServer Server, Dictionary<string, ShareDelivery> Deliveries) shared, SecureAggregationServer masked, int before,
        Dictionary<int, MaskedChunk> inputs)
    {
        var messages = Answers(before, site => Masked(site, shared).Client.SignSurvivors(masked.Survivors!));
        foreach (var left in SubsetsOf(before))
        {
            var closed = SitesOf(left).Aggregate(masked, (server, site) => server.Receive(messages[site])).CloseConsistencyCheck();
            if (!Ended(closed, left, stage: 3, before))
                ExploreUnmasking(shared, masked, closed, left, before, inputs);
        }
    }

    private void ExploreUnmasking((SecureAggregationServer Server, Dictionary<string, ShareDelivery> Deliveries) shared, SecureAggregationServer masked,
        SecureAggregationServer signed, int before, int survivors, Dictionary<int, MaskedChunk> inputs)
    {
        var messages = Answers(before, site =>
        {
            var client = Masked(site, shared).Client;
            client.SignSurvivors(masked.Survivors!);
            return client.Unmask(signed.UnmaskRequest!);
        });
        var plain = harness.PlainSum(SitesOf(survivors));
        foreach (var left in SubsetsOf(before))
        {
            var closed = SitesOf(left).Aggregate(signed, (server, site) => server.Receive(messages[site])).CloseUnmasking();
            if (Ended(closed, left, stage: 4, before))
                continue;
            Assert.Equal(SecureAggregationStage.Done, closed.Stage);
            Assert.Empty(closed.RefusedMessages);
            var sum = shared.Server.OpenSum();
            foreach (var site in SitesOf(survivors))
                sum.Add(inputs[site]);
            sum.Close();
            var unmasked = sum.Unmask(closed.Masks, harness.Plan.Encoding);
            Assert.True(plain.AsSpan(0, plain.Length - 1).SequenceEqual(unmasked.Encoded), $"{survivors:b}, {before:b}, {left:b}");
            Assert.Equal(plain[^1], unmasked.TotalWeight);
            Assignments++;
            Sums++;
        }
    }

    // Clients answer a stage once, so each branch plays its own from the start; their keys are the same each time.
    private (SecureAggregationClient Client, KeyShares Shares) Advertised(int site, SecureAggregationServer advertised)
    {
        var client = harness.NewClient(site);
        client.AdvertiseKeys();
        return (client, client.ShareKeys(advertised.Roster!));
    }

    private (SecureAggregationClient Client, MaskedChunk Input) Masked(int site,
        (SecureAggregationServer Server, Dictionary<string, ShareDelivery> Deliveries) shared)
    {
        var client = Advertised(site, shared.Server).Client;
        return (client, client.MaskInput(shared.Deliveries[harness.Names[site]], harness.Weights[site]).Mask(harness.Updates[site]));
    }

    private bool Ended(SecureAggregationServer closed, int left, int stage, int before)
    {
        if (closed.Failure is null)
            return false;
        Assert.Equal((SecureAggregationStage)stage, closed.Failure.Stage);
        Assert.NotEmpty(closed.Failure.Reason);
        Assert.Empty(closed.Masks);
        // Enough sites and yet no sum would be a defect too: only the quorum may end a round here.
        if (stage > 0)
        {
            var roster = closed.Roster!.Sites.Count;
            Assert.True(BitOperations.PopCount((uint)left) < Math.Max(2, roster - harness.Plan.Threat.Dropouts(roster)), $"{closed.Failure.Reason} ({before:b} -> {left:b})");
        }
        Assignments += (long)Math.Pow(Stages - stage, BitOperations.PopCount((uint)left));
        return true;
    }

    private static Dictionary<int, T> Answers<T>(int sites, Func<int, T> answer) => SitesOf(sites).ToDictionary(site => site, answer);

    private static IEnumerable<int> SitesOf(int set) => Enumerable.Range(0, 32).Where(site => (set >> site & 1) != 0);

    private static IEnumerable<int> SubsetsOf(int set)
    {
        for (var subset = set; ; subset = (subset - 1) & set)
        {
            yield return subset;
            if (subset == 0)
                break;
        }
    }
}
