using Sora.Federation.Rounds;
using static Sora.Federation.Tests.Rounds.Rehearsal;

namespace Sora.Federation.Tests.Rounds;

public sealed class SecureRoundTests
{
    private static readonly string[] Sites = ["a", "b", "c", "d", "e", "f"];
    private static readonly FederationSettings Secure = new() { Rounds = 1, MinAvailableSites = 6, Quorum = 4, EvalRounds = 0, SecureAggregation = new SecureAggregationSettings() };

    [Theory]
    [InlineData(SecureStage.AdvertiseKeys, "advertise_keys", 5)]
    [InlineData(SecureStage.ShareKeys, "share_keys", 5)]
    [InlineData(SecureStage.MaskedInput, "masked_input", 5)]
    [InlineData(SecureStage.Consistency, "consistency", 6)]
    [InlineData(SecureStage.Unmask, "unmask", 6)]
    public void A_dropout_is_borne_at_every_stage_and_is_in_the_sum_once_its_masked_update_is(SecureStage stage, string name, int updates)
    {
        var run = new Rehearsal(Secure).Arrive(Sites);
        while (run.State.Phase == RoundPhase.Open)
        {
            if (run.State.Round!.Secure!.Stage == stage)
                run.Happen(new SiteLost("f", "its stream broke"));
            Answer(run, run.State.Round.Secure.Stage >= stage ? [.. Sites.Except(["f"])] : Sites);
        }

        Assert.Equal(RoundPhase.Aggregating, run.State.Phase);
        Assert.Equal(updates, run.State.Round!.Updates.Count);
        Assert.Equal((name, "f"), run.Reports.OfType<SecureStageClosed>().Where(closed => closed.DroppedOut.Count > 0).Select(closed => (closed.Stage, closed.DroppedOut[0])).Single());
    }

    [Theory]
    [InlineData(SecureStage.AdvertiseKeys)]
    [InlineData(SecureStage.ShareKeys)]
    [InlineData(SecureStage.MaskedInput)]
    [InlineData(SecureStage.Consistency)]
    [InlineData(SecureStage.Unmask)]
    public void Below_the_threshold_the_stage_fails_at_its_deadline(SecureStage stage)
    {
        var run = new Rehearsal(Secure).Arrive(Sites);
        while (run.State.Round!.Secure!.Stage < stage)
            Answer(run, Sites);
        Answer(run, ["a", "b", "c"]);
        Assert.Equal(stage, run.State.Round.Secure.Stage);

        run.TimeOut(RoundTimer.Stage);

        Assert.Contains("3 sites of the 4", run.Reports.OfType<RoundGivenUp>().Single().Reason);
    }

    [Fact]
    public void Enough_answers_at_the_deadline_go_on_without_the_others()
    {
        var run = new Rehearsal(Secure).Arrive(Sites);
        Answer(run, ["a", "b", "c", "d"]);
        run.TimeOut(RoundTimer.Stage);

        Assert.Equal(["a", "b", "c", "d"], run.Told<StageOpened>("a").Single().Participants);
        Assert.Single(run.Told<RoundOver>("e"));
        Assert.Equal(SecureStage.ShareKeys, run.State.Round!.Secure!.Stage);
    }

    [Fact]
    public void Answers_to_other_stages_and_from_dropped_sites_count_for_nothing()
    {
        var run = new Rehearsal(Secure).Arrive(Sites);
        Answer(run, ["a", "b", "c", "d"]);
        run.TimeOut(RoundTimer.Stage);

        run.Say("e", new StageAnswered("run", Key(1), SecureStage.ShareKeys)).Say("a", new StageAnswered("run", Key(1), SecureStage.Unmask));

        Assert.Empty(run.State.Round!.Secure!.Answered);
    }

    [Fact]
    public void A_ban_after_the_masked_update_gives_the_attempt_up()
    {
        var run = new Rehearsal(Secure).Arrive(Sites);
        Answer(run, Sites);
        Answer(run, Sites);
        Answer(run, ["a"]);

        run.Happen(new SiteBanned("a", "poisoned"));

        Assert.Contains("masked update", run.Reports.OfType<RoundGivenUp>().Single().Reason);
    }

    [Fact]
    public void A_restarted_coordinator_begins_a_secure_round_anew()
    {
        var run = new Rehearsal(Secure).Arrive(Sites);
        Answer(run, Sites);

        run.Restart().Arrive(Sites).TimeOut(RoundTimer.Backoff);

        Assert.Equal(Key(1, 2), run.State.LastKey);
        Assert.Equal(SecureStage.AdvertiseKeys, run.State.Round!.Secure!.Stage);
    }

    private static void Answer(Rehearsal run, string[] sites)
    {
        var (key, stage) = (run.State.LastKey, run.State.Round!.Secure!.Stage);
        foreach (var site in sites)
        {
            if (stage == SecureStage.MaskedInput)
                run.Happen(new UpdateStored(Offer(key, site)));
            else
                run.Say(site, new StageAnswered("run", key, stage));
        }
    }
}
