using Sora.Federation.Rounds;
using static Sora.Federation.Tests.Rounds.Rehearsal;

namespace Sora.Federation.Tests.Rounds;

public sealed class RoundSiteTests
{
    private readonly List<RoundSiteDecision> _journal = [];
    private RoundSiteState _state = new("run", "a");
    private IReadOnlyList<RoundSiteEffect> _effects = [];

    [Fact]
    public void The_policy_is_asked_before_anything_is_done()
    {
        Hear(Announced(Key(1)));
        Assert.IsType<AskPolicy>(Assert.Single(_effects));

        Happen(new PolicyDecided(Key(1), "", false));

        Assert.Contains(_effects, effect => effect is TrainLocally);
        Assert.Equal(new RoundAccepted("run", Key(1)), Said<RoundAccepted>());
    }

    [Fact]
    public void A_refusal_names_the_rule_and_the_policy_is_asked_again_when_the_round_is_announced_again()
    {
        Hear(Announced(Key(1)));
        Happen(new PolicyDecided(Key(1), "rule hours: closed", false));
        Assert.Equal("rule hours: closed", Said<RoundRefused>()!.Reason);

        Hear(Announced(Key(1)));

        Assert.IsType<AskPolicy>(Assert.Single(_effects));
    }

    [Fact]
    public void An_update_is_sent_from_where_the_coordinator_has_not_got_it()
    {
        Train(Key(1));
        Hear(new UploadFrom("run", Offer(Key(1), "a").Id, 7));

        Assert.Equal(new SendUpdate(Offer(Key(1), "a"), 7), Assert.Single(_effects));
    }

    [Fact]
    public void An_unanswered_offer_is_repeated_until_it_counts()
    {
        Train(Key(1));
        Happen(new RetryDue());
        Assert.NotNull(Said<UpdateOffered>());
        Hear(new UpdateAcknowledged("run", Offer(Key(1), "a").Id));

        Happen(new RetryDue());

        Assert.Empty(_effects);
    }

    [Fact]
    public void A_restarted_site_offers_the_update_it_had_and_trains_no_other()
    {
        Train(Key(1));
        Restart();
        Happen(new CoordinatorReached("a/2", ""));
        Assert.Equal(Key(1), Said<SiteHello>()!.WorkingOn);

        Hear(Announced(Key(1)));

        Assert.Equal(Offer(Key(1), "a"), Said<UpdateOffered>()!.Offer);
        Assert.DoesNotContain(_effects, effect => effect is AskPolicy or TrainLocally);
    }

    [Fact]
    public void A_newer_round_ends_the_older_one()
    {
        Hear(Announced(Key(1)));
        Happen(new PolicyDecided(Key(1), "", false));
        Hear(Announced(Key(1, 2)));

        Assert.Contains(new StopTraining(Key(1)), _effects);
        Happen(new LocalRoundTrained(Offer(Key(1), "a")));
        Assert.Empty(_effects);
    }

    [Fact]
    public void An_older_announcement_that_was_long_on_its_way_does_nothing()
    {
        Hear(Announced(Key(2)));
        Happen(new PolicyDecided(Key(2), "", false));
        Hear(Announced(Key(1)));
        Assert.Empty(_effects);

        Restart();
        Hear(Announced(Key(1)));

        Assert.Empty(_effects);
    }

    [Fact]
    public void A_stage_is_not_answered_for_two_sets_of_survivors()
    {
        Hear(Announced(Key(1), secure: true));
        Happen(new PolicyDecided(Key(1), "", false));
        Hear(Opened(SecureStage.AdvertiseKeys, "a", "b", "c"));
        Assert.IsType<AnswerStage>(Assert.Single(_effects));
        Hear(Opened(SecureStage.AdvertiseKeys, "a", "b", "c"));
        Assert.IsType<AnswerStage>(Assert.Single(_effects));

        Hear(Opened(SecureStage.AdvertiseKeys, "a", "b"));

        Assert.Contains("other participants", Said<RoundFailed>()!.Reason);
        Assert.DoesNotContain(_effects, effect => effect is AnswerStage);
    }

    [Fact]
    public void A_masked_update_waits_for_its_stage()
    {
        Hear(Announced(Key(1), secure: true));
        Happen(new PolicyDecided(Key(1), "", false));
        Hear(Opened(SecureStage.AdvertiseKeys, "a", "b"));
        Hear(Opened(SecureStage.ShareKeys, "a", "b"));
        Happen(new LocalRoundTrained(Offer(Key(1), "a")));
        Assert.Null(Said<UpdateOffered>());

        Hear(Opened(SecureStage.MaskedInput, "a", "b"));

        Assert.NotNull(Said<UpdateOffered>());
    }

    [Fact]
    public void A_restarted_site_cannot_go_on_in_a_secure_round()
    {
        Hear(Announced(Key(1), secure: true));
        Happen(new PolicyDecided(Key(1), "", false));
        Restart();

        Hear(Announced(Key(1), secure: true));

        Assert.Contains("restarted", Said<RoundFailed>()!.Reason);
    }

    [Fact]
    public void A_model_is_evaluated_once_and_the_answer_repeated()
    {
        Hear(new EvaluateModel("run", new ModelVersion(1, "m")));
        Assert.IsType<EvaluateLocally>(Assert.Single(_effects));
        Happen(new LocalEvaluationDone(1, 2.5, 10));

        Hear(new EvaluateModel("run", new ModelVersion(1, "m")));

        Assert.Equal(new ModelEvaluated("run", 1, 2.5, 10), Said<ModelEvaluated>());
    }

    [Fact]
    public void A_measurement_that_may_not_leave_is_answered_so_that_nobody_waits()
    {
        Hear(new EvaluateModel("run", new ModelVersion(2, "m")));
        Happen(new LocalEvaluationDone(2, double.NaN, 0));
        Assert.Equal(2, Said<RoundRefused>()!.Round.Round);

        Hear(new EvaluateModel("run", new ModelVersion(2, "m")));

        Assert.Null(Said<ModelEvaluated>());
        Assert.False(Said<RoundRefused>()!.ForJob);
    }

    private static RoundAnnounced Announced(RoundKey key, bool secure = false) =>
        new("run", key, new ModelVersion(key.Round - 1, "m"), 0, 1, TimeSpan.FromHours(1), new ChunkLayout(100, 10), secure);

    private static StageOpened Opened(SecureStage stage, params string[] participants) => new("run", Key(1), stage, [.. participants], TimeSpan.FromMinutes(1));

    private void Train(RoundKey key)
    {
        Hear(Announced(key));
        Happen(new PolicyDecided(key, "", false));
        Happen(new LocalRoundTrained(Offer(key, "a")));
    }

    private void Hear(ToSite message) => Happen(new CoordinatorSaid(message));

    private void Happen(RoundSiteEvent happened)
    {
        (_state, _effects) = RoundSite.Decide(_state, happened);
        _journal.AddRange(_effects.OfType<JournalSite>().Select(record => record.Decision));
    }

    private void Restart() => _state = _journal.Aggregate(new RoundSiteState("run", "a"), RoundSite.Apply);

    private T? Said<T>() where T : FromSite => _effects.OfType<TellCoordinator>().Select(tell => tell.Message).OfType<T>().FirstOrDefault();
}
