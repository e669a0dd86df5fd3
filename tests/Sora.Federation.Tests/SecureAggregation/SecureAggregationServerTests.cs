using System.Security.Cryptography;
using System.Text;
using Sora.Federation.SecureAggregation;

namespace Sora.Federation.Tests.SecureAggregation;

public class SecureAggregationServerTests
{
    private static readonly ThreatModel Threat = new(0, 0.5, AdversaryClass.CuriousServer);

    [Fact]
    public void A_ring_of_64_sites_bears_dropouts_in_every_stage()
    {
        var round = new SecureRoundHarness(64, parameters: 20, new(0.05, 0.33, AdversaryClass.CuriousServer));
        // Three sites drop before each stage, some of them neighbours on any ring.
        int[] drops = [.. Enumerable.Range(0, 64).Select(site => site < 15 ? site / 3 : 5)];

        var (server, sum) = round.Play(drops);

        Assert.Null(server.Failure);
        Assert.False(SharingGraph.For(61, round.Plan.Threat).IsComplete);
        round.AssertIsSumOf(Enumerable.Range(0, 64).Where(site => drops[site] >= 3), sum!);
    }

    [Fact]
    public void A_ring_of_64_sites_that_loses_more_than_planned_fails_with_the_numbers()
    {
        var round = new SecureRoundHarness(64, parameters: 2, new(0.05, 0.33, AdversaryClass.CuriousServer));

        var (server, sum) = round.Play([.. Enumerable.Range(0, 64).Select(site => site < 22 ? 4 : 5)]);

        Assert.Null(sum);
        Assert.Equal(SecureAggregationStage.Unmask, server.Failure!.Stage);
        Assert.Contains("42 sites revealed their shares, at least 43 of 64", server.Failure.Reason);
    }

    [Fact]
    public void Sites_that_vanish_before_they_shared_anything_do_not_halt_the_round()
    {
        var round = new SecureRoundHarness(5, parameters: 2, Threat);

        var (server, sum) = round.Play([0, 1, 5, 5, 5]);

        Assert.Equal(SecureAggregationStage.Done, server.Stage);
        Assert.Equal(3, server.Masks.Count); // only the survivors' own: nobody masked with the other two
        round.AssertIsSumOf([2, 3, 4], sum!);
    }

    [Fact]
    public void With_real_curves_the_mean_is_the_weighted_mean()
    {
        var round = new SecureRoundHarness(4, parameters: 50, ThreatModel.Default, _ => new P256KeyAgreement());

        var (server, sum) = round.Play([5, 5, 2, 5]);

        Assert.Null(server.Failure);
        var mean = new float[50];
        sum!.CopyMean(0, mean);
        int[] sites = [0, 1, 3];
        var total = sites.Sum(site => round.Weights[site]);
        for (var i = 0; i < mean.Length; i++)
            Assert.Equal(sites.Sum(site => (double)round.Updates[site][i] * round.Weights[site]) / total, mean[i], 1e-5);
    }

    [Fact]
    public void What_the_coordinator_sees_of_a_site_stays_masked_while_one_neighbour_keeps_silent()
    {
        const int victim = 1, honest = 2, parameters = 2000;
        var round = new SecureRoundHarness(4, parameters, Threat);
        var received = new List<object>();
        var (server, _) = round.Play([5, 5, 5, 5], received);
        var inputs = received.OfType<MaskedChunk>().ToDictionary(chunk => chunk.Site, chunk => chunk.Values.ToArray());

        // No message has the encoded update, or the update, in it.
        Assert.Equal(4, inputs.Count);
        for (var site = 0; site < 4; site++)
            Assert.DoesNotContain(inputs[round.Names[site]].Zip(round.Encode(site)), pair => pair.First == pair.Second);

        // Now all it restored, and the keys of sites 0 and 3 that are in league with it, are taken off the inputs of the two others.
        uint[] Strip(int site)
        {
            var stripped = inputs[round.Names[site]];
            var own = server.Masks[site]; // survivors' own masks are in the order of their names
            using var self = new CounterStream(own.Key);
            self.Subtract(stripped, 0);
            foreach (var colluder in new[] { 0, 3 })
            {
                var pairs = new FastKeyAgreement(seed: 1000 + colluder);
                pairs.Generate(); // the encryption key comes first
                var publicKey = server.Roster!.Sites[site].MaskKey;
                var key = KeySchedule.PairMask(pairs.Generate().Agree(publicKey), round.Plan.Digest(), round.Names[site], round.Names[colluder]);
                using var stream = new CounterStream(key);
                if (KeySchedule.AddsMaskWith(round.Names[site], round.Names[colluder]))
                    stream.Subtract(stripped, 0);
                else
                    stream.Add(stripped, 0);
            }
            return stripped;
        }
        var (one, other) = (Strip(victim), Strip(honest));

        Assert.DoesNotContain(one.Zip(round.Encode(victim)), pair => pair.First == pair.Second);
        Assert.DoesNotContain(other.Zip(round.Encode(honest)), pair => pair.First == pair.Second);
        // What is left is one mask: the two together are their plain sum, and nothing was stripped wrongly.
        Assert.Equal(round.PlainSum([victim, honest]), one.Zip(other, (first, second) => unchecked(first + second)));
        // Half of the bits of what is left are set, give or take six standard deviations.
        var bits = one.Sum(value => System.Numerics.BitOperations.PopCount(value));
        Assert.InRange(bits, 16 * one.Length - 6 * Math.Sqrt(8 * one.Length), 16 * one.Length + 6 * Math.Sqrt(8 * one.Length));
    }

    [Fact]
    public void One_site_that_reveals_wrong_shares_is_outvoted_where_shares_are_to_spare()
    {
        var (round, server, answers, sum) = ToUnmask();
        answers[2] = answers[2] with { Shares = [.. answers[2].Shares.Select(share => share with { Share = new byte[ShamirSharing.ShareBytes] })] };

        server = answers.Aggregate(server, (server, answer) => server.Receive(answer)).CloseUnmasking();

        round.AssertIsSumOf([0, 1, 2, 3], sum.Unmask(server.Masks, round.Plan.Encoding));
    }

    [Fact]
    public void Wrong_shares_without_any_to_spare_end_the_round_and_not_in_a_wrong_sum()
    {
        var (_, server, answers, _) = ToUnmask();
        answers[2] = answers[2] with { Shares = [.. answers[2].Shares.Select(share => share with { Share = new byte[ShamirSharing.ShareBytes] })] };

        server = server.Receive(answers[1]).Receive(answers[2]).CloseUnmasking();

        Assert.Equal(SecureAggregationStage.Failed, server.Stage);
        Assert.Contains("do not fit what it published", server.Failure!.Reason);
        Assert.Empty(server.Masks);
    }

    [Fact]
    public void Messages_that_are_not_due_are_refused_with_the_reason()
    {
        var round = new SecureRoundHarness(4, parameters: 2, Threat);
        var clients = round.NewClients();
        var keys = clients.Select(client => client.AdvertiseKeys()).ToArray();
        var server = keys.Aggregate(round.StartServer(), (server, key) => server.Receive(key));

        void Refused(SecureAggregationServer after, string reason)
        {
            Assert.Equal(server.RefusedMessages.Count + 1, after.RefusedMessages.Count);
            Assert.Contains(reason, after.RefusedMessages[^1].Reason);
            Assert.Equal(server.Stage, after.Stage);
        }

        Refused(server.Receive(keys[0]), "sent this already");
        Refused(server.Receive(new KeyShares("site-00", [], [])), "belongs to ShareKeys");
        Refused(round.StartServer().Receive(keys[0] with { Site = "site-01" }), "did not sign");
        Refused(round.StartServer().Receive(keys[1]).Receive(Signed(keys[0].EncryptionKey, keys[0].EncryptionKey)), "occur twice");
        Refused(round.StartServer().Receive(keys[1]).Receive(Signed(keys[1].MaskKey, keys[0].MaskKey)), "occur twice");
        Refused(round.StartServer().Receive(Signed([1], [2])), "no public keys");
        server = server.CloseAdvertising();
        Refused(server.Receive(keys[0]), "belongs to AdvertiseKeys");
        var shares = clients.Select(client => client.ShareKeys(server.Roster!)).ToArray();
        Refused(server.Receive(shares[0] with { Site = "stranger" }), "not of this round");
        Refused(server.Receive(shares[0] with { Shares = [.. shares[0].Shares.Skip(1)] }), "one sealed pair");
        Refused(server.Receive(shares[0] with { Shares = [.. shares[0].Shares, shares[0].Shares[0]] }), "one sealed pair");
        Refused(server.Receive(shares[0] with { Site = "site-01" }), "one sealed pair");
        server = shares.Aggregate(server, (server, share) => server.Receive(share)).CloseSharing();
        Assert.Throws<ArgumentException>(() => server.CloseMaskedInput(["stranger"]));
        foreach (var (site, delivery) in server.Deliveries().Index())
            clients[site].MaskInput(delivery, 1).Mask(round.Updates[site]);
        server = server.CloseMaskedInput(round.Names);
        Refused(server.Receive(new SurvivorSignature("stranger", [])), "no survivor");
        Refused(server.Receive(new SurvivorSignature("site-00", [1])), "did not sign this set");
        server = clients.Take(3).Aggregate(server, (server, client) => server.Receive(client.SignSurvivors(server.Survivors!))).CloseConsistencyCheck();
        var answer = clients[0].Unmask(server.UnmaskRequest!);
        Refused(server.Receive(answer with { Site = "site-03" }), "did not sign");
        Refused(server.Receive(answer with { Shares = [answer.Shares[0] with { Kind = ShareKind.MaskKey }] }), "not the one that is due");
        Refused(server.Receive(answer with { Shares = [answer.Shares[0], answer.Shares[0]] }), "not the one that is due");
        Refused(server.Receive(answer with { Shares = [answer.Shares[0] with { Peer = "stranger" }] }), "not the one that is due");
        Refused(server.Receive(answer with { Shares = [answer.Shares[0] with { Share = [1] }] }), "not the one that is due");

        AdvertisedKeys Signed(byte[] encryption, byte[] mask) => new("site-00", encryption, mask,
            round.Identities.SignerOf("site-00").Sign(SignedStatements.Keys(round.Plan.Digest(), "site-00", encryption, mask)));
    }

    [Fact]
    public void A_stage_is_closed_in_its_turn()
    {
        var server = new SecureRoundHarness(4, parameters: 2, Threat).StartServer();

        Assert.Throws<InvalidOperationException>(() => server.CloseSharing());
        Assert.Throws<InvalidOperationException>(() => server.OpenSum().Unmask([], new FixedPointEncoding(2, 1, 1)));
    }

    [Fact]
    public void Too_few_advertised_keys_end_the_round_at_once()
    {
        var round = new SecureRoundHarness(4, parameters: 2, Threat, minimumSites: 3);

        var (server, _) = round.Play([5, 5, 0, 0]);

        Assert.Contains("2 sites advertised keys, at least 3", server.Failure!.Reason);
    }

    [Fact]
    public void At_64_sites_and_5_million_parameters_the_traffic_is_far_below_twice_the_plain_one()
    {
        const long parameters = 5_000_000, chunkParameters = 1 << 18;
        var round = new SecureRoundHarness(64, parameters: 1, ThreatModel.Default);
        var (received, sent) = (new List<object>(), new List<object>());
        // Nobody drops out: the most messages.
        Assert.Null(round.Play([.. Enumerable.Repeat(5, 64)], received, sent).Server.Failure);

        var protocol = received.Concat(sent).Where(message => message is not MaskedChunk).Sum(BytesOf);
        var chunks = (parameters + chunkParameters - 1) / chunkParameters;
        var masked = 64 * (sizeof(uint) * (parameters + 1) + chunks * BytesOf(new MaskedChunk("site-00", 0, ReadOnlyMemory<uint>.Empty)));
        var plain = 64 * sizeof(float) * parameters;

        var ratio = (double)(protocol + masked) / plain;
        Assert.InRange(ratio, 1.0, 1.01);
        TestContext.Current.TestOutputHelper?.WriteLine($"plain {plain} bytes, masked {masked}, all else {protocol}; {ratio:0.0000} x");
    }

    private static (SecureRoundHarness Round, SecureAggregationServer Server, UnmaskShares[] Answers, MaskedSum Sum) ToUnmask()
    {
        var round = new SecureRoundHarness(4, parameters: 2, Threat); // two shares of four restore a secret
        var clients = round.NewClients();
        var server = clients.Aggregate(round.StartServer(), (server, client) => server.Receive(client.AdvertiseKeys())).CloseAdvertising();
        server = clients.Aggregate(server, (server, client) => server.Receive(client.ShareKeys(server.Roster!))).CloseSharing();
        var sum = server.OpenSum();
        foreach (var (site, delivery) in server.Deliveries().Index())
            sum.Add(clients[site].MaskInput(delivery, round.Weights[site]).Mask(round.Updates[site]));
        server = server.CloseMaskedInput(sum.Close());
        server = clients.Aggregate(server, (server, client) => server.Receive(client.SignSurvivors(server.Survivors!))).CloseConsistencyCheck();
        return (round, server, [.. clients.Select(client => client.Unmask(server.UnmaskRequest!))], sum);
    }

    /// <summary>Bytes of a message: each text and byte string with four bytes of length, numbers as they are.</summary>
    private static long BytesOf(object message)
    {
        static long Text(string text) => 4 + Encoding.UTF8.GetByteCount(text);
        static long Bytes(byte[] bytes) => 4 + bytes.Length;
        // The test's own keys and signatures are shorter than those of P-256.
        const long key = 4 + P256KeyAgreement.PublicKeyBytes, signed = 4 + 64;
        static long Sealed(SealedShares shares) => Text(shares.From) + Text(shares.To) + Bytes(shares.Box);
        return message switch
        {
            AdvertisedKeys keys => Text(keys.Site) + key + key + signed,
            KeyRoster roster => 4 + roster.Sites.Sum(BytesOf),
            KeyShares shares => Text(shares.Site) + Bytes(shares.SelfMaskCommitment) + 4 + shares.Shares.Sum(Sealed),
            ShareDelivery delivery => Text(delivery.Site) + 4 + delivery.Shares.Sum(Sealed),
            MaskedChunk chunk => Text(chunk.Site) + 8 + 4 + sizeof(uint) * chunk.Values.Length,
            SurvivorSet set => 4 + set.Survivors.Sum(Text),
            SurvivorSignature signature => Text(signature.Site) + signed,
            UnmaskRequest request => 4 + request.Survivors.Sum(Text) + 4 + request.Signatures.Sum(BytesOf),
            UnmaskShares shares => Text(shares.Site) + 4 + shares.Shares.Sum(share => Text(share.Peer) + 1 + Bytes(share.Share)),
            _ => throw new ArgumentException($"No message: {message.GetType()}"),
        };
    }
}
