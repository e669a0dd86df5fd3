using CsCheck;
using Sora.Protocol.Wire;

namespace Sora.Protocol.Tests.Wire;

public class HandshakeTests
{
    private static readonly byte[] Secret = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];

    [Theory, InlineData(1, false), InlineData(2, false), InlineData(3, true)]
    public void A_greeting_of_a_later_generation_is_early(long generation, bool early)
    {
        var acceptor = new AcceptorHandshake(Identity(0) with { Generation = 2 });
        Assert.Equal(early, acceptor.IsEarly(new DialerHandshake(Identity(1) with { Generation = generation }, 0).Greeting()));
        Assert.False(acceptor.IsEarly(new DialerHandshake(Identity(1) with { Generation = generation, Run = "another" }, 0).Greeting()));
        Assert.Throws<HandshakeException>(() => acceptor.IsEarly(new byte[50]));
    }

    [Fact]
    public void Two_ends_with_the_same_secret_accept_each_other()
    {
        var acceptor = new AcceptorHandshake(Identity(0));
        var dialer = new DialerHandshake(Identity(2), acceptor: 0);
        Assert.Equal(2, acceptor.Accept(dialer.Answer(acceptor.Challenge(dialer.Greeting()))));
    }

    [Fact]
    public void The_dialer_notices_an_acceptor_without_the_secret()
    {
        var acceptor = new AcceptorHandshake(Identity(0) with { Secret = new byte[32] });
        var dialer = new DialerHandshake(Identity(1), acceptor: 0);
        var error = Assert.Throws<HandshakeException>(() => dialer.Answer(acceptor.Challenge(dialer.Greeting())));
        Assert.Contains("Rank 0 does not know the secret", error.Message);
    }

    [Fact]
    public void The_acceptor_notices_a_dialer_without_the_secret()
    {
        var acceptor = new AcceptorHandshake(Identity(0));
        acceptor.Challenge(new DialerHandshake(Identity(1), acceptor: 0).Greeting());
        Gen.Byte.Array[0, 64].Sample(proof => Assert.Throws<HandshakeException>(() => acceptor.Accept(proof)));
    }

    [Fact]
    public void A_proof_is_worth_nothing_in_another_connection()
    {
        var first = new AcceptorHandshake(Identity(0));
        var dialer = new DialerHandshake(Identity(1), acceptor: 0);
        var proof = dialer.Answer(first.Challenge(dialer.Greeting()));
        var second = new AcceptorHandshake(Identity(0));
        second.Challenge(dialer.Greeting());
        Assert.Throws<HandshakeException>(() => second.Accept(proof));
    }

    [Fact]
    public void A_challenge_cannot_be_reflected_as_a_proof()
    {
        var acceptor = new AcceptorHandshake(Identity(0));
        var challenge = acceptor.Challenge(new DialerHandshake(Identity(1), acceptor: 0).Greeting());
        Assert.Throws<HandshakeException>(() => acceptor.Accept(challenge.AsSpan(32)));
    }

    [Fact]
    public void Another_run_generation_or_rank_is_refused_with_both_sides_named()
    {
        Refused(Identity(1) with { Run = "other" }, 0, "run run", "run other");
        Refused(Identity(1) with { Generation = 8 }, 0, "generation 3", "generation 8");
        Refused(Identity(1) with { Workers = 9 }, 0, "rank 0 of 3", "rank 0 of 9");
        Refused(Identity(1), 2, "rank 0 of 3", "rank 2 of 3");
        Refused(Identity(0), 0, "no peer of rank 0");
        Refused(Identity(7), 0, "no peer of rank 7");

        static void Refused(ExchangeIdentity dialer, int acceptor, params string[] expected)
        {
            var error = Assert.Throws<HandshakeException>(() => new AcceptorHandshake(Identity(0)).Challenge(new DialerHandshake(dialer, acceptor).Greeting()));
            Assert.All(expected, part => Assert.Contains(part, error.Message));
        }
    }

    [Fact]
    public void A_proof_before_the_greeting_is_refused() =>
        Assert.Throws<HandshakeException>(() => new AcceptorHandshake(Identity(0)).Accept(new byte[32]));

    [Fact]
    public void Random_greetings_and_challenges_are_refused_and_never_anything_worse()
    {
        Gen.Byte.Array[0, 200].Sample(bytes => Assert.Throws<HandshakeException>(() => new AcceptorHandshake(Identity(0)).Challenge(bytes)));
        Gen.Byte.Array[0, 100].Sample(bytes => Assert.Throws<HandshakeException>(() => new DialerHandshake(Identity(1), 0).Answer(bytes)));
        Assert.Throws<HandshakeException>(() => new AcceptorHandshake(Identity(0)).Challenge(new byte[Handshake.MaxPayloadBytes + 1]));
    }

    private static ExchangeIdentity Identity(int rank) => new("run", 3, 3, rank, Secret);
}
