using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;
using static Sora.Federation.Tests.Rounds.Rehearsal;

namespace Sora.Federation.Tests.Rounds;

public sealed class AsynchronousRoundTests
{
    private static readonly FederationSettings Buffered = new()
    {
        Mode = FederationMode.Asynchronous,
        Rounds = 5,
        EvalRounds = 0,
        MinAvailableSites = 2,
        BufferSize = 2,
        MaxStaleness = 1,
        Strategy = new StrategySettings("fedbuff"),
    };

    [Fact]
    public void A_full_buffer_makes_the_next_model_and_its_sites_begin_again_at_once()
    {
        var run = new Rehearsal(Buffered).Arrive("a", "b", "c").Deliver(Key(1), "a", "b").Aggregate();

        Assert.Equal(1, run.State.Model.Number);
        Assert.Equal(Key(2), run.Told<RoundAnnounced>("a").Single().Round);
        Assert.Equal(Key(1), run.Told<RoundAnnounced>("c").Single().Round);
    }

    [Fact]
    public void A_slow_sites_update_counts_later_with_its_staleness()
    {
        var run = new Rehearsal(Buffered).Arrive("a", "b", "c").Deliver(Key(1), "a", "b").Aggregate().Deliver(Key(1), "c");

        Assert.Equal(1, run.Journal.OfType<UpdateAccepted>().Last().Update.Staleness);
        Assert.Empty(run.Told<RoundAnnounced>("c"));
        run.Deliver(Key(2), "a").Aggregate();
        Assert.Equal(Key(3), run.Told<RoundAnnounced>("c").Single().Round);
    }

    [Fact]
    public void An_update_that_is_too_stale_is_refused_and_its_site_gets_the_newest_model()
    {
        var run = new Rehearsal(Buffered).Arrive("a", "b", "c").Deliver(Key(1), "a", "b").Aggregate().Deliver(Key(2), "a", "b").Aggregate();
        Assert.Equal(Key(3), run.Told<RoundAnnounced>("c").Single().Round);

        run.Deliver(Key(1), "c");

        Assert.Contains("2 models behind", run.Told<UpdateRefused>("c").Single().Reason);
    }

    [Fact]
    public void The_same_update_in_a_later_buffer_counts_once()
    {
        var run = new Rehearsal(Buffered).Arrive("a", "b", "c").Deliver(Key(1), "a", "b").Aggregate().Deliver(Key(1), "a");

        Assert.Single(run.Told<UpdateAcknowledged>("a"));
        Assert.Empty(run.State.Round!.Updates);
    }

    [Fact]
    public void A_buffer_that_stands_still_is_given_up_and_everybody_asked_anew()
    {
        var run = new Rehearsal(Buffered).Arrive("a", "b").Say("b", new RoundRefused("run", Key(1), "rule hours: closed", ForJob: false)).Deliver(Key(1), "a").TimeOut(RoundTimer.Deadline);
        Assert.Equal(RoundPhase.Open, run.State.Phase);

        run.TimeOut(RoundTimer.Deadline).TimeOut(RoundTimer.Backoff);

        Assert.Equal(Key(1, 2), run.Told<RoundAnnounced>("a").Single().Round);
        Assert.Equal(Key(1, 2), run.Told<RoundAnnounced>("b").Single().Round);
    }

    [Fact]
    public void After_a_restart_a_site_goes_on_with_the_model_it_was_at()
    {
        var run = new Rehearsal(Buffered).Arrive("a", "b", "c").Deliver(Key(1), "a", "b").Aggregate().Restart()
            .Happen(new SiteArrived(new SiteHello("run", "c", "c/1", "", Key(1), false)));

        Assert.Equal(new ModelVersion(0, "initial"), run.Told<RoundAnnounced>("c").Single().Model);
        Assert.Equal(Key(2), run.Arrive("a").Told<RoundAnnounced>("a").Single().Round);
    }
}
