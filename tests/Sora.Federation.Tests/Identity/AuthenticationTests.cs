using CsCheck;
using Microsoft.Extensions.Time.Testing;
using Sora.Federation.Identity;

namespace Sora.Federation.Tests.Identity;

public sealed class AuthenticationTests : IDisposable
{
    private readonly FakeTimeProvider _time = new(new DateTimeOffset(2026, 11, 24, 12, 0, 0, TimeSpan.Zero));
    private readonly IdentityKey _site = IdentityKey.Create();
    private readonly IdentityKey _coordinator = IdentityKey.Create();
    private readonly Challenges _challenges;
    private readonly AdmissionList _admissions;
    private byte _random;

    public AuthenticationTests()
    {
        _challenges = NewChallenges(1);
        _admissions = AdmissionList.Empty.Register(new NamedPublicKey("a", _site.Public), _time.GetUtcNow(), "eve");
    }

    public void Dispose()
    {
        _site.Dispose();
        _coordinator.Dispose();
    }

    private Challenges NewChallenges(byte key, int capacity = 100) => new([.. Enumerable.Repeat(key, 32)], _time, TimeSpan.FromMinutes(1), capacity);

    private byte[] Issue() => _challenges.Issue([.. Enumerable.Repeat(++_random, Challenges.RandomLength)]);

    private Handshake NewHandshake() => new("join", "run-1", _site.Public.Fingerprint, _coordinator.Public.Fingerprint, Issue(), new byte[Authentication.NonceLength]);

    private AuthenticationResult Judge(Handshake handshake, byte[] proof) => Authentication.Judge(_admissions, _challenges, handshake, proof, _time.GetUtcNow());

    [Fact]
    public void A_site_proves_itself_once_with_a_challenge()
    {
        var handshake = NewHandshake();
        var proof = Authentication.Prove(_site, Role.Site, handshake);

        Assert.Equal("a", Judge(handshake, proof).Site!.Name);
        Assert.Contains("answered before", Judge(handshake, proof).Refusal);
        // ECDSA gives another signature each time; the challenge is what counts.
        Assert.Contains("answered before", Judge(handshake, Authentication.Prove(_site, Role.Site, handshake)).Refusal);
    }

    [Fact]
    public void A_proof_is_good_for_nothing_but_its_handshake_and_role()
    {
        var handshake = NewHandshake();
        var proof = Authentication.Prove(_site, Role.Site, handshake);
        Handshake[] others =
        [
            handshake with { Purpose = "leave" },
            handshake with { Run = "run-2" },
            handshake with { Purpose = "joinr", Run = "un-1" },
            handshake with { Coordinator = _site.Public.Fingerprint },
            handshake with { CoordinatorNonce = Issue() },
            handshake with { SiteNonce = Enumerable.Repeat((byte)1, Authentication.NonceLength).ToArray() },
            handshake with { SiteNonce = Array.Empty<byte>() },
        ];

        Assert.All(others, other => Assert.False(Judge(other, proof).IsGood));
        Assert.False(Judge(handshake, Authentication.Prove(_site, Role.Coordinator, handshake)).IsGood);
        Assert.False(Judge(handshake, Authentication.Prove(_coordinator, Role.Site, handshake)).IsGood);
        Assert.False(Judge(handshake, []).IsGood);
        Assert.Equal(0, _challenges.Remembered);
        Assert.True(Judge(handshake, proof).IsGood);
    }

    [Fact]
    public void The_coordinator_proves_itself_to_the_site_too()
    {
        var handshake = NewHandshake();
        var proof = Authentication.Prove(_coordinator, Role.Coordinator, handshake);

        Assert.True(Authentication.Verify(_coordinator.Public, Role.Coordinator, handshake, proof));
        Assert.False(Authentication.Verify(_coordinator.Public, Role.Site, handshake, proof));
        Assert.False(Authentication.Verify(_site.Public, Role.Coordinator, handshake, proof));
        Assert.False(Authentication.Verify(_coordinator.Public, Role.Coordinator, handshake with { SiteNonce = new byte[31] }, proof));
    }

    [Fact]
    public void Any_changed_byte_of_a_proof_makes_it_worthless()
    {
        var handshake = NewHandshake();
        var proof = Authentication.Prove(_site, Role.Site, handshake);

        Gen.Select(Gen.Int[0, proof.Length - 1], Gen.Byte[1, 255]).Sample((at, flip) =>
        {
            var changed = proof.ToArray();
            changed[at] ^= flip;
            Assert.False(Authentication.Verify(_site.Public, Role.Site, handshake, changed));
        }, iter: 100);
    }

    [Fact]
    public void A_challenge_that_is_late_foreign_or_changed_is_not_taken()
    {
        var challenge = Issue();
        Assert.Equal(ChallengeVerdict.Foreign, NewChallenges(2).Redeem(challenge)); // a restart makes a new key
        Assert.Equal(ChallengeVerdict.Foreign, _challenges.Redeem(challenge.AsSpan(1)));
        Assert.Equal(ChallengeVerdict.Foreign, _challenges.Redeem([.. challenge[..^1], (byte)(challenge[^1] ^ 1)]));
        Assert.Equal(ChallengeVerdict.Foreign, _challenges.Redeem([(byte)(challenge[0] ^ 1), .. challenge[1..]]));
        _time.Advance(TimeSpan.FromMinutes(1));
        Assert.Equal(ChallengeVerdict.Expired, _challenges.Redeem(challenge));
    }

    [Fact]
    public void Memory_is_bounded_and_what_was_forgotten_cannot_come_back()
    {
        var challenges = NewChallenges(3, capacity: 2);
        var issued = Enumerable.Range(0, 3).Select(number => challenges.Issue([.. Enumerable.Repeat((byte)number, Challenges.RandomLength)])).ToArray();
        Assert.Equal([ChallengeVerdict.Fresh, ChallengeVerdict.Fresh, ChallengeVerdict.TooMany], issued.Select(challenge => challenges.Redeem(challenge)));
        _time.Advance(TimeSpan.FromMinutes(1));
        Assert.Equal(ChallengeVerdict.Fresh, challenges.Redeem(challenges.Issue(new byte[Challenges.RandomLength])));
        Assert.Equal(1, challenges.Remembered);

        // A clock that is put back by an administrator or an attacker.
        _time.AdjustTime(_time.GetUtcNow().AddMinutes(-1));
        Assert.Equal(ChallengeVerdict.Expired, challenges.Redeem(issued[0]));
    }

    [Fact]
    public void Whatever_the_order_no_challenge_is_taken_twice()
    {
        Gen.Select(Gen.Int[0, 4], Gen.Int[0, 40]).Array[1, 40].Sample(plays =>
        {
            var time = new FakeTimeProvider();
            var challenges = new Challenges(new byte[32], time, TimeSpan.FromSeconds(60), capacity: 3);
            var issued = Enumerable.Range(0, 5).Select(number => challenges.Issue([.. Enumerable.Repeat((byte)number, Challenges.RandomLength)])).ToArray();
            var taken = new HashSet<int>();
            foreach (var (which, seconds) in plays)
            {
                if (challenges.Redeem(issued[which]) == ChallengeVerdict.Fresh) Assert.True(taken.Add(which));
                time.Advance(TimeSpan.FromSeconds(seconds));
                Assert.True(challenges.Remembered <= 3);
            }
        }, iter: 200);
    }
}
