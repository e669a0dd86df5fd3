using CsCheck;
using Sora.Federation.Policies;
using Sora.Federation.Rounds;
using Sora.Federation.Wire;

namespace Sora.Federation.Tests.Wire;

public sealed class RoundMessageFormatTests
{
    [Fact]
    public void What_a_coordinator_says_is_read_as_it_was_said() => WireValues.ToSite.Sample(said =>
    {
        var message = RoundMessageFormat.Write(said);

        Assert.Equal(WireValues.Shown(said), WireValues.Shown(RoundMessageFormat.ReadToSite(message)));
        Assert.True(RoundMessageFormat.Knows(message));
        Assert.Throws<InvalidRoundMessageException>(() => RoundMessageFormat.ReadFromSite(message));
    }, iter: 1000);

    [Fact]
    public void What_a_site_says_is_read_as_it_was_said() => WireValues.FromSite.Sample(said =>
    {
        var message = RoundMessageFormat.Write(said);

        Assert.Equal(WireValues.Shown(said), WireValues.Shown(RoundMessageFormat.ReadFromSite(message)));
        Assert.True(RoundMessageFormat.Knows(message));
        Assert.Throws<InvalidRoundMessageException>(() => RoundMessageFormat.ReadToSite(message));
    }, iter: 1000);

    [Fact]
    public void Nothing_that_is_said_is_left_out_here()
    {
        Assert.Equal(WireValues.Kinds<ToSite>().ToHashSet(), WireValues.ToSite.Array[500].Single().Select(said => said.GetType()).ToHashSet());
        Assert.Equal(WireValues.Kinds<FromSite>().ToHashSet(), WireValues.FromSite.Array[500].Single().Select(said => said.GetType()).ToHashSet());
    }

    [Fact]
    public void A_policy_has_a_name_for_everything_a_site_says() =>
        WireValues.FromSite.Sample(said => Assert.Contains(RoundMessageFormat.TypeOf(said), SiteMessages.All), iter: 200);

    [Fact]
    public void Only_updates_in_the_clear_and_measurements_tell_of_a_sites_data()
    {
        var offered = new UpdateOffered("fed-1", new UpdateOffer(new UpdateId(new RoundKey(1, 1), "a", new string('0', 64)), 4, 1, 1));

        Assert.Equal(SiteMessages.Update, RoundMessageFormat.TypeOf(offered));
        Assert.Equal(SiteMessages.MaskedUpdate, RoundMessageFormat.TypeOf(offered, secure: true));
        WireValues.FromSite.Where(said => said is not (UpdateOffered or ModelEvaluated))
            .Sample(said => Assert.Contains(RoundMessageFormat.TypeOf(said), SiteMessages.WithoutData), iter: 200);
    }

    [Fact]
    public void A_text_that_is_too_long_is_cut_between_characters()
    {
        var over = new RoundOver("fed-1", new RoundKey(1, 1), new string('x', 4095) + "🙂" + new string('y', 10_000));

        var read = (RoundOver)RoundMessageFormat.ReadToSite(RoundMessageFormat.Write(over));

        Assert.Equal(new string('x', 4095) + "…", read.Reason);
    }

    [Fact]
    public void A_name_that_could_lead_out_of_a_folder_is_neither_written_nor_read()
    {
        foreach (var name in new[] { "", "..", ".", "a/b", "a\\b", "-x", "a b", "ä", new string('a', 201), "a\n" })
            Assert.Throws<InvalidRoundMessageException>(() => RoundMessageFormat.Write(new SiteDraining(name)));
        var message = RoundMessageFormat.Write(new SiteDraining("fed-1"));
        message[^4] = (byte)'/';
        Assert.Throws<InvalidRoundMessageException>(() => RoundMessageFormat.ReadFromSite(message));
    }
}
