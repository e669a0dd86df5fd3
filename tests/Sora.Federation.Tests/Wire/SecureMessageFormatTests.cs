using System.Security.Cryptography;
using CsCheck;
using Sora.Federation.Identity;
using Sora.Federation.Policies;
using Sora.Federation.Rounds;
using Sora.Federation.SecureAggregation;
using Sora.Federation.Wire;

namespace Sora.Federation.Tests.Wire;

public sealed class SecureMessageFormatTests
{
    private static readonly RoundKey Round = new(3, 2);

    [Fact]
    public void Every_message_is_read_as_it_was_written() => Gen.Select(WireValues.Key, SecureValues.Message).Sample((round, said) =>
    {
        var message = SecureValues.Write(round, said);
        var (readRound, read) = SecureMessageFormat.Read(message);

        Assert.Equal(round, readRound);
        Assert.Equal(WireValues.Shown(said), WireValues.Shown(read));
        Assert.True(SecureMessageFormat.Knows(message));
        Assert.False(RoundMessageFormat.Knows(message));
        Assert.Throws<InvalidRoundMessageException>(() => RoundMessageFormat.ReadFromSite(message));
    }, iter: 1000);

    [Fact]
    public void A_plan_that_was_read_binds_keys_and_signatures_as_the_one_that_was_written() => SecureValues.Plan.Sample(plan =>
        Assert.Equal(plan.Digest(), SecureMessageFormat.Read<SecureAggregationPlan>(SecureMessageFormat.Write(Round, plan)).Message.Digest()), iter: 200);

    [Fact]
    public void A_plan_that_makes_no_sense_is_refused()
    {
        var plan = new SecureAggregationPlan(new byte[32], "fed-1", 3, 10, 3, new FixedPointEncoding(10, 1, 1), ThreatModel.Default);

        foreach (var bad in new[] { plan with { SessionId = new byte[31] }, plan with { MinimumSites = 1 }, plan with { Threat = new ThreatModel(0.9, 0.9, AdversaryClass.None) } })
            Assert.Throws<InvalidRoundMessageException>(() => SecureMessageFormat.Read(SecureMessageFormat.Write(Round, bad)));
    }

    [Fact]
    public void A_message_of_another_stage_is_refused()
    {
        var message = SecureMessageFormat.Write(Round, new SurvivorSet(["a"]));

        var refused = Assert.Throws<InvalidRoundMessageException>(() => SecureMessageFormat.Read<UnmaskRequest>(message));

        Assert.Contains("survivor-set:v1", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_policy_has_a_name_for_what_a_site_says_and_for_nothing_else()
    {
        Assert.Equal(SiteMessages.Keys, SecureMessageFormat.TypeOf(new AdvertisedKeys("a", [], [], [])));
        Assert.Equal(SiteMessages.Shares, SecureMessageFormat.TypeOf(new KeyShares("a", [], [])));
        Assert.Equal(SiteMessages.MaskedUpdate, SecureMessageFormat.TypeOf(new MaskedChunk("a", 0, default)));
        Assert.Equal(SiteMessages.Consistency, SecureMessageFormat.TypeOf(new SurvivorSignature("a", [])));
        Assert.Equal(SiteMessages.Unmask, SecureMessageFormat.TypeOf(new UnmaskShares("a", [])));
        Assert.Throws<InvalidRoundMessageException>(() => SecureMessageFormat.TypeOf(new SurvivorSet([])));
    }

    [Fact]
    public void A_masked_part_travels_little_endian()
    {
        var message = SecureMessageFormat.Write(Round, new MaskedChunk("a", 0, new uint[] { 0x01020304 }));

        Assert.Equal([4, 3, 2, 1], message[^4..]);
    }

    [Fact]
    public void A_key_that_is_too_long_and_a_federation_that_is_too_large_are_refused()
    {
        Assert.Throws<InvalidRoundMessageException>(() => SecureMessageFormat.Write(Round, new SurvivorSignature("a", new byte[257])));
        Assert.Throws<InvalidRoundMessageException>(() => SecureMessageFormat.Write(Round, new SurvivorSet([.. Enumerable.Repeat("a", 10_001)])));
        var one = SecureMessageFormat.Write(Round, new SurvivorSet(["a"]));
        byte[] crowd = [.. one[..^3], 0xdc, 10_001 >> 8, 10_001 & 0xff, .. Enumerable.Repeat(one[^2..], 10_001).SelectMany(name => name)];
        var refused = Assert.Throws<InvalidRoundMessageException>(() => SecureMessageFormat.Read(crowd));
        Assert.Contains("list of 10001", refused.Message, StringComparison.Ordinal);
        Assert.Throws<InvalidRoundMessageException>(() => SecureMessageFormat.Write(Round, new MaskedChunk("a", 0, new uint[1_000_001])));
    }

    [Fact]
    public void The_largest_roster_that_may_come_fits_into_a_message()
    {
        using var key = IdentityKey.Create();
        var signature = key.Sign([1]);
        var keys = RandomNumberGenerator.GetBytes(P256KeyAgreement.PublicKeyBytes);
        var roster = new KeyRoster([.. Enumerable.Range(0, Elements.MaxSites).Select(number => new AdvertisedKeys(number.ToString("d100", null), keys, keys, signature))]);

        Assert.Equal(Elements.MaxSites, SecureMessageFormat.Read<KeyRoster>(SecureMessageFormat.Write(Round, roster)).Message.Sites.Count);
    }
}
