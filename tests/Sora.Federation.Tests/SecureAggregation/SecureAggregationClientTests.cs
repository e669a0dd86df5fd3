using Sora.Federation.SecureAggregation;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.SecureAggregation;

/// <summary>What a site refuses, whatever the coordinator asks for. Site 1 of four is the one under test.</summary>
public class SecureAggregationClientTests
{
    private const int Me = 1;
    private static readonly ThreatModel Threat = new(0, 0.25, AdversaryClass.SemiMaliciousServer);

    private readonly SecureRoundHarness _round = new(4, parameters: 5, Threat) { Rules = new() };
    private readonly SecureAggregationClient[] _clients;
    private SecureAggregationServer _server;

    public SecureAggregationClientTests()
    {
        _clients = _round.NewClients();
        _server = _round.StartServer();
    }

    [Fact]
    public void A_round_without_attack_is_answered_to_the_end_and_every_secret_wiped()
    {
        var sum = ToMasked();
        ToSigned();
        foreach (var client in _clients)
            _server = _server.Receive(client.Unmask(_server.UnmaskRequest!));
        _server = _server.CloseUnmasking();

        _round.AssertIsSumOf([0, 1, 2, 3], sum.Unmask(_server.Masks, _round.Plan.Encoding));
        Assert.All(_clients, client => Assert.False(client.HoldsSecrets));
    }

    [Fact]
    public void Each_stage_is_answered_once()
    {
        ToMasked();
        Refuses("answered once", client => client.AdvertiseKeys(), stays: true);
        Refuses("answered once", client => client.ShareKeys(_server.Roster!), stays: true);
        ToSigned();
        Refuses("answered once", client => client.SignSurvivors(_server.Survivors!), stays: true);
        _clients[Me].Unmask(_server.UnmaskRequest!);
        Refuses("answered once", client => client.Unmask(_server.UnmaskRequest!));
    }

    [Fact]
    public void Stages_are_not_skipped()
    {
        ToAdvertised();
        Refuses("answered once", client => client.SignSurvivors(new(_round.Names)), stays: true);
        Refuses("answered once", client => client.Unmask(new(_round.Names, [])), stays: true);
    }

    [Theory]
    [InlineData(0.3, AdversaryClass.SemiMaliciousServer, "with 0.3")]
    [InlineData(0, (AdversaryClass)3, "its rules demand 3")] // stands for a class stronger than the round's
    public void A_round_against_a_weaker_adversary_than_the_site_demands_is_not_entered(double rate, AdversaryClass adversary, string because)
    {
        _clients[Me] = _round.NewClient(Me, new(LeastAdversary: adversary, LeastAdversarialRate: rate));
        Refuses(because, client => client.AdvertiseKeys());
    }

    [Fact]
    public void A_roster_that_names_a_site_twice_is_refused() => RefusesRoster("twice", sites => [sites[0], sites[0], .. sites[1..]]);

    [Fact]
    public void A_roster_without_the_site_itself_is_refused() => RefusesRoster("without its own keys", sites => [sites[0], sites[2], sites[3]]);

    [Fact]
    public void A_roster_with_other_keys_for_the_site_is_refused() =>
        RefusesRoster("without its own keys", sites => [sites[0], sites[1] with { MaskKey = [.. sites[1].MaskKey.Reverse()] }, .. sites[2..]]);

    [Fact]
    public void A_roster_with_keys_their_site_did_not_sign_is_refused() =>
        RefusesRoster("did not sign", sites => [sites[0] with { EncryptionKey = [.. sites[0].EncryptionKey.Reverse()] }, .. sites[1..]]);

    [Fact]
    public void A_roster_with_keys_signed_for_another_round_is_refused()
    {
        var yesterday = _round.Plan with { Round = 2 };
        using var stale = new SecureAggregationClient(yesterday, _round.Names[0], new(), _round.Identities.SignerOf(_round.Names[0]), _round.Identities,
            new SeededRandom(9), new FastKeyAgreement(77));

        RefusesRoster("for this round", sites => [stale.AdvertiseKeys(), .. sites[1..]]);
    }

    [Fact]
    public void A_roster_in_which_two_sites_have_one_key_is_refused() => RefusesRoster("a key occurs twice", sites =>
        [sites[0] with { MaskKey = sites[2].MaskKey }, .. sites[1..]]);

    [Fact]
    public void A_roster_below_the_sites_own_minimum_is_refused() => RefusesRoster("fewer than 3", sites => [sites[0], sites[1]]);

    [Fact]
    public void A_roster_above_the_sites_own_maximum_is_refused()
    {
        _clients[Me] = _round.NewClient(Me, new(MaximumSites: 3));
        RefusesRoster("more than 3", sites => sites);
    }

    [Fact]
    public void A_threshold_below_the_sites_own_minimum_is_refused()
    {
        _clients[Me] = _round.NewClient(Me, new(MinimumThreshold: 4));
        RefusesRoster("its rules demand 4", sites => sites);
    }

    [Fact]
    public void Fewer_neighbours_than_the_site_demands_are_refused()
    {
        _clients[Me] = _round.NewClient(Me, new(MinimumNeighbours: 4));
        RefusesRoster("its rules demand 4", sites => sites);
    }

    [Fact]
    public void Shares_of_a_site_that_is_not_of_the_round_are_refused() =>
        RefusesDelivery("not of this round", shares => [shares[0] with { From = "stranger" }, .. shares[1..]]);

    [Fact]
    public void Shares_of_its_own_are_refused() => RefusesDelivery("of its own", shares => [shares[0] with { From = _round.Names[Me] }, .. shares[1..]]);

    [Fact]
    public void Shares_of_one_site_sent_twice_are_refused() => RefusesDelivery("twice", shares => [.. shares, shares[0]]);

    [Fact]
    public void Shares_for_another_site_are_refused() => RefusesDelivery("shares for site-02", shares => [shares[0] with { To = _round.Names[2] }, .. shares[1..]]);

    [Fact]
    public void Too_few_shares_are_refused() => RefusesDelivery("neighbours left", shares => [shares[0]]);

    [Fact]
    public void Shares_of_a_site_that_is_no_neighbour_are_refused()
    {
        var ring = new SecureRoundHarness(64, 2, new(0.05, 0.33, AdversaryClass.CuriousServer));
        var clients = ring.NewClients();
        var server = clients.Aggregate(ring.StartServer(), (server, client) => server.Receive(client.AdvertiseKeys())).CloseAdvertising();
        server = clients.Aggregate(server, (server, client) => server.Receive(client.ShareKeys(server.Roster!))).CloseSharing();
        var delivery = server.Deliveries()[Me];
        var neighbours = delivery.Shares.Select(share => share.From).ToHashSet();
        var far = ring.Names.First(name => !neighbours.Contains(name) && name != ring.Names[Me]);

        var exception = Assert.Throws<SecureAggregationRefusedException>(() =>
            clients[Me].MaskInput(delivery with { Shares = [delivery.Shares[0] with { From = far }, .. delivery.Shares.Skip(1)] }, 1));

        Assert.Contains("not its neighbour", exception.Message);
    }

    [Fact]
    public void One_unreadable_share_costs_that_share_only()
    {
        var sum = ToMasked(delivery => delivery with { Shares = [delivery.Shares[0] with { Box = new byte[96] }, .. delivery.Shares.Skip(1)] });
        ToSigned();
        var answer = _clients[Me].Unmask(_server.UnmaskRequest!);
        _server = _server.Receive(answer);
        foreach (var other in new[] { 0, 2, 3 })
            _server = _server.Receive(_clients[other].Unmask(_server.UnmaskRequest!));
        _server = _server.CloseUnmasking();

        Assert.DoesNotContain(answer.Shares, share => share.Peer == _round.Names[0]);
        _round.AssertIsSumOf([0, 1, 2, 3], sum.Unmask(_server.Masks, _round.Plan.Encoding));
    }

    [Fact]
    public void Survivors_named_twice_are_refused() => RefusesSurvivors("twice", names => [names[0], names[0], .. names[1..]]);

    [Fact]
    public void Survivors_out_of_order_are_refused() => RefusesSurvivors("not ordered", names => [.. names.Reverse()]);

    [Fact]
    public void A_survivor_that_is_not_of_the_round_is_refused() => RefusesSurvivors("not of this round", names => [.. names, "stranger"]);

    [Fact]
    public void Survivors_without_the_site_itself_are_refused() => RefusesSurvivors("without itself", names => [names[0], names[2], names[3]]);

    [Fact]
    public void Too_few_survivors_are_refused() => RefusesSurvivors("fewer than the 3", names => [names[0], names[1]]);

    [Fact]
    public void A_survivor_that_never_shared_its_keys_is_refused()
    {
        ToAdvertised();
        foreach (var site in new[] { 0, 1, 2 })
            _server = _server.Receive(_clients[site].ShareKeys(_server.Roster!));
        _server = _server.CloseSharing();
        _clients[Me].MaskInput(_server.Deliveries()[Me], 1).Mask(_round.Updates[Me]);

        Refuses("whose shares it never got", client => client.SignSurvivors(new(_round.Names)));
    }

    [Fact]
    public void A_site_whose_input_is_incomplete_does_not_sign_that_it_survived()
    {
        ToShared();
        _clients[Me].MaskInput(_server.Deliveries()[Me], 1).Mask(_round.Updates[Me].AsSpan(0, 2));

        Refuses("before its input was complete", client => client.SignSurvivors(new(_round.Names)));
    }

    [Fact]
    public void Another_set_of_survivors_than_the_signed_one_is_not_unmasked() =>
        RefusesUnmasking("another set", request => request with { Survivors = [.. request.Survivors.Skip(1)] });

    [Fact]
    public void Too_few_signatures_do_not_unmask() => RefusesUnmasking("2 signatures", request => request with { Signatures = [.. request.Signatures.Take(2)] });

    [Fact]
    public void One_signature_does_not_count_twice() =>
        RefusesUnmasking("two signatures", request => request with { Signatures = [.. request.Signatures.Take(2), request.Signatures[0]] });

    [Fact]
    public void A_signature_by_nobody_of_the_survivors_does_not_unmask() =>
        RefusesUnmasking("no survivor", request => request with { Signatures = [.. request.Signatures.Skip(1), request.Signatures[0] with { Site = "stranger" }] });

    [Fact]
    public void A_wrong_signature_does_not_unmask() =>
        RefusesUnmasking("wrong signature", request => request with { Signatures = [.. request.Signatures.Skip(1), request.Signatures[0] with { Signature = new byte[32] }] });

    [Fact]
    public void Signatures_under_another_set_do_not_unmask()
    {
        // The coordinator tells sites 0 and 1 that all survived, and sites 2 and 3 that 0 dropped out, to get both kinds of shares of 0.
        ToMasked();
        var all = _server.CloseMaskedInput(_round.Names).Survivors!;
        var less = new SurvivorSet([.. _round.Names.Skip(1)]);
        SurvivorSignature[] signatures = [_clients[0].SignSurvivors(all), _clients[1].SignSurvivors(all), _clients[2].SignSurvivors(less), _clients[3].SignSurvivors(less)];

        Refuses("wrong signature", client => client.Unmask(new(all.Survivors, signatures)));
        var exception = Assert.Throws<SecureAggregationRefusedException>(() => _clients[0].Unmask(new(all.Survivors, signatures[..2])));
        Assert.Contains("2 signatures", exception.Message);
    }

    [Fact]
    public void For_each_peer_exactly_one_share_is_revealed_of_the_kind_that_fits()
    {
        ToShared();
        foreach (var site in new[] { 0, 1, 2 }) // site 3 shared its keys and then dropped out
            _clients[site].MaskInput(_server.Deliveries()[site], 1).Mask(_round.Updates[site]);
        _server = _server.CloseMaskedInput([.. _round.Names.Take(3)]);
        ToSigned(3);

        var answer = _clients[Me].Unmask(_server.UnmaskRequest!);

        Assert.Equal(_round.Names, answer.Shares.Select(share => share.Peer));
        Assert.Equal([ShareKind.SelfMask, ShareKind.SelfMask, ShareKind.SelfMask, ShareKind.MaskKey], answer.Shares.Select(share => share.Kind));
    }

    [Fact]
    public void Every_position_is_masked_once_and_the_length_is_the_rounds()
    {
        ToShared();
        using var masker = _clients[Me].MaskInput(_server.Deliveries()[Me], 1);
        masker.Mask(_round.Updates[Me].AsSpan(0, 3));

        var exception = Assert.Throws<SoraException>(() => masker.Mask(_round.Updates[Me]));
        Assert.Contains("from 3 on", exception.Message);
        var last = masker.Mask(_round.Updates[Me].AsSpan(3));
        Assert.Equal((3L, 3), (last.First, last.Values.Length)); // two parameters and the weight
        Assert.Throws<ObjectDisposedException>(() => masker.Mask(_round.Updates[Me]));
    }

    [Fact]
    public void A_value_out_of_range_is_refused_before_anything_is_sent_and_can_be_clipped()
    {
        ToShared();
        using var masker = _clients[Me].MaskInput(_server.Deliveries()[Me], 1);

        Assert.Throws<SoraException>(() => masker.Mask([1f, 9f]));
        Assert.Equal(0, masker.Mask([1f, 8f]).First);
    }

    [Fact]
    public void Leaving_the_round_wipes_its_secrets()
    {
        ToShared();
        Assert.True(_clients[Me].HoldsSecrets);

        _clients[Me].Dispose();

        Assert.False(_clients[Me].HoldsSecrets);
        Refuses("answered once", client => client.MaskInput(_server.Deliveries()[Me], 1));
    }

    [Fact]
    public void Masks_and_keys_are_others_in_every_round()
    {
        var one = new SecureAggregationClient(_round.Plan, "a", new(), _round.Identities.SignerOf("a"), _round.Identities,
            System.Security.Cryptography.RandomNumberGenerator.Create());
        var other = new SecureAggregationClient(_round.Plan with { SessionId = SecureAggregationPlan.NewSessionId() }, "a", new(),
            _round.Identities.SignerOf("a"), _round.Identities, System.Security.Cryptography.RandomNumberGenerator.Create());

        Assert.NotEqual(one.AdvertiseKeys().MaskKey, other.AdvertiseKeys().MaskKey);
        Assert.NotEqual(_round.Plan.Digest(), (_round.Plan with { Round = 4 }).Digest());
    }

    private void RefusesRoster(string because, Func<AdvertisedKeys[], AdvertisedKeys[]> attack)
    {
        ToAdvertised();
        Refuses(because, client => client.ShareKeys(new(attack([.. _server.Roster!.Sites]))));
    }

    private void RefusesDelivery(string because, Func<SealedShares[], SealedShares[]> attack)
    {
        ToShared();
        var delivery = _server.Deliveries()[Me];
        Refuses(because, client => client.MaskInput(delivery with { Shares = attack([.. delivery.Shares]) }, 1));
    }

    private void RefusesSurvivors(string because, Func<string[], string[]> attack)
    {
        ToMasked();
        Refuses(because, client => client.SignSurvivors(new(attack(_round.Names))));
    }

    private void RefusesUnmasking(string because, Func<UnmaskRequest, UnmaskRequest> attack)
    {
        ToMasked();
        ToSigned();
        Refuses(because, client => client.Unmask(attack(_server.UnmaskRequest!)));
    }

    private void Refuses(string because, Action<SecureAggregationClient> ask, bool stays = false)
    {
        var exception = Assert.Throws<SecureAggregationRefusedException>(() => ask(_clients[Me]));
        Assert.Contains(because, exception.Message);
        Assert.Equal(stays, _clients[Me].HoldsSecrets);
    }

    private void ToAdvertised() =>
        _server = _clients.Aggregate(_server, (server, client) => server.Receive(client.AdvertiseKeys())).CloseAdvertising();

    private void ToShared()
    {
        ToAdvertised();
        _server = _clients.Aggregate(_server, (server, client) => server.Receive(client.ShareKeys(server.Roster!))).CloseSharing();
    }

    private MaskedSum ToMasked(Func<ShareDelivery, ShareDelivery>? change = null)
    {
        ToShared();
        var sum = _server.OpenSum();
        foreach (var (site, delivery) in _server.Deliveries().Index())
            sum.Add(_clients[site].MaskInput(site == Me && change is not null ? change(delivery) : delivery, _round.Weights[site]).Mask(_round.Updates[site]));
        sum.Close();
        return sum;
    }

    private void ToSigned(int survivors = 4)
    {
        if (_server.Survivors is null)
            _server = _server.CloseMaskedInput(_round.Names);
        foreach (var client in _clients.Take(survivors))
            _server = _server.Receive(client.SignSurvivors(_server.Survivors!));
        _server = _server.CloseConsistencyCheck();
        Assert.Null(_server.Failure);
    }
}
