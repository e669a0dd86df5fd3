using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;
using static Sora.Federation.Tests.Rounds.Rehearsal;

namespace Sora.Federation.Tests.Rounds;

public sealed class RoundCoordinatorTests
{
    private static readonly FederationSettings Two = new() { Rounds = 2, MinAvailableSites = 2, EvalRounds = 0 };

    [Fact]
    public void Nobody_waits_for_the_evaluation_of_a_site_that_may_not_tell_it()
    {
        var run = new Rehearsal(Two with { Rounds = 1 }).Arrive("a", "b").Deliver(Key(1), "a", "b").Aggregate();
        run.Say("b", new ModelEvaluated("run", 1, 3, 5)).Say("a", new RoundRefused("run", Key(1), "no measurement may leave", ForJob: false));

        Assert.Equal(3, Assert.IsType<FederationFinished>(run.State.Outcome).EvalLoss);
        Assert.Equal(["b"], run.Reports.OfType<RoundEvaluated>().Single().Sites.Select(site => site.Site));
    }

    [Fact]
    public void Below_the_minimum_the_job_waits_and_says_whom_it_does_not_count()
    {
        var run = new Rehearsal(Two).Arrive("a").Happen(new SiteArrived(new SiteHello("run", "b", "b/1", "rule jobs: not on the list", null, false)));

        var waiting = run.Reports.OfType<RoundWaiting>().Last();
        Assert.Equal(1, waiting.AvailableSites);
        Assert.Contains("1 of at least 2", waiting.Message);
        Assert.Contains("b (rule jobs: not on the list)", waiting.Message);
        Assert.Equal(RoundPhase.Gathering, run.State.Phase);
    }

    [Fact]
    public void A_round_with_all_updates_becomes_the_next_model()
    {
        var run = new Rehearsal(Two).Arrive("a", "bbb").Deliver(Key(1), "a", "bbb");

        Assert.Equal(RoundPhase.Aggregating, run.State.Phase);
        Assert.Equal(["a", "bbb"], run.Effects.OfType<AggregateRound>().Single().Updates.Select(update => update.Id.Site));
        run.Aggregate();
        Assert.Equal(new ModelVersion(1, "model-1.1"), run.State.Model);
        Assert.Equal(Key(2), run.State.LastKey);
        Assert.Equal(new ModelVersion(1, "model-1.1"), run.Told<RoundAnnounced>("a").Single().Model);
        run.Deliver(Key(2), "a", "bbb").Aggregate();
        Assert.IsType<FederationFinished>(run.Happen(new SiteSaid("a", new ModelEvaluated("run", 2, 1, 1))).Say("bbb", new ModelEvaluated("run", 2, 3, 3)).State.Outcome);
        Assert.Equal(2.5, run.Reports.OfType<RoundEvaluated>().Single().Loss);
        Assert.Equal(ExitCode.Ok, run.Told<Dismissed>("a").Single().ExitCode);
    }

    [Fact]
    public void The_same_update_twice_counts_once_and_is_acknowledged_again()
    {
        var run = new Rehearsal(Two).Arrive("a", "b").Deliver(Key(1), "a").Deliver(Key(1), "a");

        Assert.Single(run.Told<UpdateAcknowledged>("a"));
        Assert.Single(run.Journal.OfType<UpdateAccepted>());
    }

    [Fact]
    public void A_second_update_of_a_site_does_not_count()
    {
        var run = new Rehearsal(Two).Arrive("a", "b").Deliver(Key(1), "a").Happen(new UpdateStored(Offer(Key(1), "a", "other")));

        Assert.Contains("another update", run.Told<UpdateRefused>("a").Single().Reason);
        Assert.Equal("abc", run.State.Round!.Updates["a"].Id.Sha256);
    }

    [Fact]
    public void A_late_update_is_refused_by_its_number()
    {
        var run = new Rehearsal(Two).Arrive("a", "b").Deliver(Key(1), "a", "b").Aggregate().Say("a", new UpdateOffered("run", Offer(Key(1), "a", "late")));

        Assert.Equal("it is for round 1, and round 2 is open now", run.Told<UpdateRefused>("a").Single().Reason);
    }

    [Fact]
    public void Nobody_delivers_for_another_site()
    {
        var run = new Rehearsal(Two).Arrive("a", "b").Say("a", new UpdateOffered("run", Offer(Key(1), "b")));

        Assert.Empty(run.Effects);
    }

    [Fact]
    public void Over_selection_closes_with_the_first_ones()
    {
        var run = new Rehearsal(Two with { MinAvailableSites = 4, FractionTrain = 0.5, OverSelection = 1.5 }).Arrive("a", "b", "c", "d");
        var asked = run.State.Round!.Cohort.Sites;
        Assert.Equal(3, asked.Length);

        run.Deliver(Key(1), asked[2], asked[0]);

        Assert.Equal([asked[0], asked[2]], run.Effects.OfType<AggregateRound>().Single().Updates.Select(update => update.Id.Site));
        Assert.Contains("closed with 2 updates", run.Told<RoundOver>(asked[1]).Single().Reason);
    }

    [Fact]
    public void A_site_that_vanishes_does_not_hold_up_a_quorum()
    {
        var run = new Rehearsal(Two with { Quorum = 1 }).Arrive("a", "b").Deliver(Key(1), "a");
        Assert.Equal(RoundPhase.Open, run.State.Phase);

        run.Happen(new SiteLost("b", "its stream broke"));

        Assert.Equal(RoundPhase.Aggregating, run.State.Phase);
        run.Aggregate();
        Assert.Equal([("a", "counted"), ("b", "gone")], run.Reports.OfType<RoundCommitted>().Single().Sites.Select(site => (site.Site, site.Outcome)));
    }

    [Fact]
    public void A_site_that_comes_back_may_still_deliver()
    {
        var run = new Rehearsal(Two).Arrive("a", "b").Happen(new SiteLost("b", "its stream broke")).Deliver(Key(1), "a").Arrive("b");

        Assert.Equal(Key(1), run.Told<RoundAnnounced>("b").Single().Round);
        run.Deliver(Key(1), "b");
        Assert.Equal(RoundPhase.Aggregating, run.State.Phase);
    }

    [Fact]
    public void The_deadline_is_put_off_once_while_the_quorum_can_be_reached()
    {
        var run = new Rehearsal(Two with { RoundDeadline = 60 }).Arrive("a", "b").Deliver(Key(1), "a").Wait(60).TimeOut(RoundTimer.Deadline);

        Assert.True(run.State.Round!.Extended);
        run.Wait(60).TimeOut(RoundTimer.Deadline);
        Assert.Equal(RoundPhase.Gathering, run.State.Phase);
        Assert.Contains("1 of the 2 updates", run.Reports.OfType<RoundGivenUp>().Single().Reason);
        run.TimeOut(RoundTimer.Backoff);
        Assert.Equal(Key(1, 2), run.State.LastKey);
        run.Deliver(Key(1), "b");
        Assert.Contains("round 1, attempt 2 is open", run.Told<UpdateRefused>("b").Single().Reason);
    }

    [Fact]
    public void A_refusal_ends_an_attempt_that_needs_everybody_at_once_and_is_not_asked_again()
    {
        var run = new Rehearsal(Two).Arrive("a", "b", "c").Say("b", new RoundRefused("run", Key(1), "rule max_rounds: 3 of 3", ForJob: false));

        Assert.Equal(RoundPhase.Gathering, run.State.Phase);
        Assert.Contains("b: rule max_rounds: 3 of 3", run.Reports.OfType<RoundGivenUp>().Single().Reason);
        run.TimeOut(RoundTimer.Backoff);
        Assert.Equal(["a", "c"], run.State.Round!.Cohort.Sites);
    }

    [Fact]
    public void Too_many_attempts_end_the_job_with_the_reason()
    {
        var run = new Rehearsal(Two with { MaxAttempts = 1 }).Arrive("a", "b").Say("b", new RoundFailed("run", Key(1), "out of memory")).TimeOut(RoundTimer.Backoff);

        Assert.Contains("b: out of memory", Assert.IsType<FederationFailed>(run.State.Outcome).Message);
    }

    [Fact]
    public void A_banned_sites_update_is_taken_out_of_an_open_round()
    {
        var run = new Rehearsal(Two with { MinAvailableSites = 3, Quorum = 2 }).Arrive("a", "b", "c").Deliver(Key(1), "a").Happen(new SiteBanned("a", "poisoned updates"));

        Assert.Empty(run.State.Round!.Updates);
        Assert.Equal(ExitCode.Failure, run.Told<Dismissed>("a").Single().ExitCode);
        run.Deliver(Key(1), "b", "c").Aggregate();
        Assert.Equal(RoundPhase.Gathering, run.State.Phase);
        Assert.Equal(("a", "banned", "poisoned updates"), run.Reports.OfType<RoundCommitted>().Single().Sites.Select(site => (site.Site, site.Outcome, site.Reason)).First());
    }

    [Fact]
    public void A_site_that_drains_finishes_and_is_not_asked_again()
    {
        var run = new Rehearsal(Two).Arrive("a", "b", "c").Say("b", new SiteDraining("run")).Deliver(Key(1), "a", "b", "c").Aggregate();

        Assert.Equal(["a", "c"], run.State.Round!.Cohort.Sites);
    }

    [Fact]
    public void A_stop_gives_the_open_round_up()
    {
        var run = new Rehearsal(Two).Arrive("a", "b").Deliver(Key(1), "a", "b").Aggregate().Happen(new FederationStopRequested("enough"));

        Assert.Equal(new FederationStopped(1, "model-1.1", "enough"), run.State.Outcome);
        Assert.Equal(ExitCode.Resumable, run.Told<Dismissed>("a").Single().ExitCode);
    }

    [Fact]
    public void An_update_that_is_refused_for_its_content_is_reported_with_the_reason()
    {
        var run = new Rehearsal(Two with { Quorum = 1 }).Arrive("a", "b").Happen(new UpdateRejected(Offer(Key(1), "a").Id, "it holds NaN")).Deliver(Key(1), "b").Aggregate();

        Assert.Equal("it holds NaN", run.Reports.OfType<UpdateTurnedAway>().Single().Reason);
        Assert.Equal(["failed", "counted"], run.Reports.OfType<RoundCommitted>().Single().Sites.Select(site => site.Outcome));
    }

    [Fact]
    public void A_restarted_coordinator_keeps_accepted_updates_and_asks_for_the_others()
    {
        var run = new Rehearsal(Two).Arrive("a", "b").Deliver(Key(1), "a").Restart();

        Assert.Equal(RoundPhase.Open, run.State.Phase);
        Assert.Empty(run.Arrive("a").Told<RoundAnnounced>("a"));
        Assert.Equal(Key(1), run.Arrive("b").Told<RoundAnnounced>("b").Single().Round);
        run.Deliver(Key(1), "b");
        Assert.Equal(["a", "b"], run.Effects.OfType<AggregateRound>().Single().Updates.Select(update => update.Id.Site));
    }

    [Fact]
    public void A_restart_while_aggregating_computes_the_same_set_again()
    {
        var run = new Rehearsal(Two).Arrive("a", "b").Deliver(Key(1), "a", "b");
        var before = run.Effects.OfType<AggregateRound>().Single();

        var after = run.Restart().Effects.OfType<AggregateRound>().Single();

        Assert.Equal((before.Round, before.Base), (after.Round, after.Base));
        Assert.Equal(before.Updates.AsEnumerable(), after.Updates.AsEnumerable());
    }

    [Fact]
    public void A_second_submission_changes_nothing()
    {
        var run = new Rehearsal(Two).Arrive("a", "b");
        var before = run.State;

        Assert.Equal(before, run.Happen(new FederationSubmitted(before.Run!)).State);
    }
}
