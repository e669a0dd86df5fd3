using System.Security.Cryptography;
using Sora.Federation.Identity;
using Sora.Federation.SecureAggregation;

namespace Sora.Federation.Tests.SecureAggregation;

public class KnownIdentitiesTests
{
    [Fact]
    public void A_round_of_registered_sites_ends_with_the_sum_and_a_stranger_is_not_let_in()
    {
        string[] names = ["berlin", "lyon", "porto", "stranger"];
        var keys = names.ToDictionary(name => name, _ => IdentityKey.Create());
        var known = new KnownIdentities(names.Take(3).Select(name => KeyValuePair.Create(name, keys[name].Public)));
        var plan = new SecureAggregationPlan(SecureAggregationPlan.NewSessionId(), "run", 1, 2, 3, new FixedPointEncoding(4, 1f, 1), ThreatModel.Default);
        using var random = RandomNumberGenerator.Create();
        var clients = names.Select(name => new SecureAggregationClient(plan, name, new(), new IdentityKeySigner(keys[name]), known, random)).ToArray();

        var server = clients.Aggregate(SecureAggregationServer.Start(plan, known), (server, client) => server.Receive(client.AdvertiseKeys())).CloseAdvertising();
        Assert.Equal("stranger", Assert.Single(server.RefusedMessages).Site);
        var sites = clients.Take(3).ToArray();
        server = sites.Aggregate(server, (server, client) => server.Receive(client.ShareKeys(server.Roster!))).CloseSharing();
        var sum = server.OpenSum();
        foreach (var (site, delivery) in server.Deliveries().Index())
            sum.Add(sites[site].MaskInput(delivery, 1).Mask([0.5f, -0.25f]));
        server = server.CloseMaskedInput(sum.Close());
        server = sites.Aggregate(server, (server, client) => server.Receive(client.SignSurvivors(server.Survivors!))).CloseConsistencyCheck();
        server = sites.Aggregate(server, (server, client) => server.Receive(client.Unmask(server.UnmaskRequest!))).CloseUnmasking();

        var mean = new float[2];
        sum.Unmask(server.Masks, plan.Encoding).CopyMean(0, mean);
        Assert.Equal([0.5f, -0.25f], mean);
        Assert.All(sites, site => Assert.False(site.HoldsSecrets));
    }
}
