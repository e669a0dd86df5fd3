using Sora.Federation.Rounds;
using static Sora.Federation.Tests.Rounds.Rehearsal;

namespace Sora.Federation.Tests.Rounds;

public sealed class RoundBudgetTests
{
    private static readonly FederationSettings Private = new() { Rounds = 2, EvalRounds = 0, DifferentialPrivacy = new DifferentialPrivacySettings() };

    [Fact]
    public void Nobody_is_told_of_a_round_before_the_ledger_holds_its_cost()
    {
        var run = new Rehearsal(Private).Arrive("a", "b");

        Assert.Equal(Key(1), run.Effects.OfType<ReserveBudget>().Single().Round);
        Assert.Empty(run.Effects.OfType<TellSite>());
        run.Happen(new BudgetReserved(Key(1), 0.5));
        Assert.Single(run.Told<RoundAnnounced>("a"));
        Assert.Equal(0.5, run.Reports.OfType<RoundBegan>().Single().Epsilon);
    }

    [Fact]
    public void A_refusal_of_the_ledger_ends_the_job_with_its_reason()
    {
        var run = new Rehearsal(Private).Arrive("a", "b").Happen(new BudgetRefused(Key(1), "epsilon 8.2 of 8."));

        Assert.False(run.Effects.OfType<SettleBudget>().Single().Spent);
        run.Happen(new BudgetSettled(Key(1)));
        Assert.Contains("epsilon 8.2 of 8.", Assert.IsType<FederationFailed>(run.State.Outcome).Message);
        Assert.Equal(RoundPhase.Ended, run.State.Phase);
    }

    [Fact]
    public void What_cannot_succeed_any_more_is_given_back_unannounced()
    {
        var run = new Rehearsal(Private).Arrive("a", "b").Happen(new SiteBanned("b", "poisoned")).Happen(new BudgetReserved(Key(1), 0.5));

        Assert.Equal(new SettleBudget(Key(1), Spent: false), run.Effects.OfType<SettleBudget>().Single());
        Assert.Empty(run.Told<RoundAnnounced>("a"));
    }

    [Fact]
    public void An_attempt_that_sites_were_told_of_is_paid_for_though_nothing_comes_of_it()
    {
        var run = new Rehearsal(Private).Arrive("a", "b").Happen(new BudgetReserved(Key(1), 0.5)).Happen(new FederationStopRequested("enough"));

        Assert.True(run.Effects.OfType<SettleBudget>().Single().Spent);
    }

    [Fact]
    public void A_restart_asks_the_ledger_again_for_what_it_may_not_have_heard()
    {
        var run = new Rehearsal(Private).Arrive("a", "b").Restart();
        Assert.Equal(Key(1), run.Effects.OfType<ReserveBudget>().Single().Round);

        run.Arrive("a", "b").Happen(new BudgetReserved(Key(1), 0.5)).Deliver(Key(1), "a", "b").Aggregate().Restart();

        Assert.Equal(new SettleBudget(Key(1), Spent: true), run.Effects.OfType<SettleBudget>().Single());
    }

    [Fact]
    public void The_run_is_not_over_before_the_ledger_knows_what_was_spent()
    {
        var run = new Rehearsal(Private with { Rounds = 1 }).Arrive("a", "b").Happen(new BudgetReserved(Key(1), 0.5)).Deliver(Key(1), "a", "b").Aggregate().TimeOut(RoundTimer.Evaluation);
        Assert.Equal(RoundPhase.Ending, run.State.Phase);

        run.Happen(new BudgetSettled(Key(1)));

        Assert.Equal(0.5, Assert.IsType<FederationFinished>(run.State.Outcome).Epsilon);
        Assert.Equal(RoundPhase.Ended, run.State.Phase);
    }
}
