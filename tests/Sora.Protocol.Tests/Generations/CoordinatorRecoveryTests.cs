using Sora.Protocol.Generations;
using Sora.Protocol.Runs;
using static Sora.Protocol.Tests.Generations.CoordinatorScene;

namespace Sora.Protocol.Tests.Generations;

/// <summary>A coordinator that was restarted, or another one, takes the run up from the journal.</summary>
public sealed class CoordinatorRecoveryTests
{
    [Fact]
    public void When_all_members_are_back_the_generation_goes_on_undisturbed()
    {
        var scene = Running().Restart();
        Assert.Equal(RunPhase.Recovering, scene.State.Phase);
        scene.Happen(new WorkerArrived(HelloOf("w1", StandingOf("w1", 1, 7, inGeneration: true))));
        scene.Happen(new WorkerArrived(HelloOf("w2", StandingOf("w2", 1, 7, inGeneration: true))));

        Assert.Equal((RunPhase.Running, 1), (scene.State.Phase, scene.Plan.Number));
        Assert.DoesNotContain(scene.Effects, effect => effect is TellWorker);
    }

    [Fact]
    public void When_a_member_does_not_come_back_the_others_form_the_next_generation()
    {
        var scene = Running().Restart();
        scene.Happen(new WorkerArrived(HelloOf("w1", StandingOf("w1", 1, 7, inGeneration: true))));
        scene.TimeOut(RunTimer.Return);
        Assert.False(scene.ToldTo("w1").Last().Halt.Gracefully);
        scene.Halted("w1", 7).Form();

        Assert.Equal((2, 7), (scene.Plan.Number, scene.Plan.FirstStep));
        Assert.Equal(["w1"], scene.Members);
    }

    [Fact]
    public void Members_that_are_back_but_halted_form_the_next_generation_at_once()
    {
        var scene = Running().Restart();
        scene.Happen(new WorkerArrived(HelloOf("w1", StandingOf("w1", 1, 7, inGeneration: false))));
        scene.Happen(new WorkerArrived(HelloOf("w2", StandingOf("w2", 1, 8, inGeneration: false))));
        scene.Form();

        Assert.Equal((2, 8), (scene.Plan.Number, scene.Plan.FirstStep));
        Assert.Equal([1u], scene.Announced.Holders);
    }

    [Fact]
    public void A_crash_between_journaling_and_telling_costs_a_number_and_nothing_else()
    {
        var before = Running(workers: 3);
        before.Lose("w3");
        before.Halted("w1", 5, "w3 is gone").Halted("w2", 5).Form();
        // Nobody was told of generation 2.
        var scene = before.Restart();
        foreach (var worker in new[] { "w1", "w2" })
            scene.Happen(new WorkerArrived(HelloOf(worker, StandingOf(worker, 1, 5, inGeneration: false))));
        scene.Form();

        Assert.Equal((3, 5), (scene.Plan.Number, scene.Plan.FirstStep));
        Assert.Equal([0u, 1u], scene.Announced.Holders);
    }

    [Fact]
    public void Members_of_an_older_generation_that_still_compute_are_halted_first()
    {
        var before = Running(workers: 3);
        before.Lose("w3");
        before.Halted("w1", 5, "w3 is gone").Halted("w2", 5).Form();
        var scene = before.Restart();
        scene.Happen(new WorkerArrived(HelloOf("w3", StandingOf("w3", 1, 5, inGeneration: true))));

        Assert.Equal(1ul, Assert.Single(scene.ToldTo("w3")).Halt.Generation);
    }

    [Fact]
    public void A_canary_is_held_to_the_reference_of_the_journal()
    {
        var scene = Running().Restart();
        scene.Happen(new WorkerArrived(HelloOf("w1", StandingOf("w1", 1, 7, inGeneration: true))));
        scene.Join("w9", "odd");

        Assert.Contains(scene.ToldTo("w9"), message => message.Refused is not null);
    }

    [Fact]
    public void Before_the_first_generation_a_restarted_coordinator_gathers_again()
    {
        var scene = new CoordinatorScene().Arrive("w1").Restart();
        Assert.Equal(RunPhase.Gathering, scene.State.Phase);
        scene.Happen(new WorkerArrived(HelloOf("w1", StandingOf("w1", 0, -1, inGeneration: false))));
        scene.Join("w2");

        Assert.Equal(["w1", "w2"], scene.Form().Members);
    }

    [Fact]
    public void Taking_a_run_up_is_a_decision_so_that_the_journal_refuses_the_coordinator_before()
    {
        var before = Running();
        var after = before.Restart();

        Assert.Equal([new RunTakenUp()], after.Journal);
        Assert.Equal(RunPhase.Recovering, CoordinatorProtocol.Apply(after.State, new RunTakenUp()).Phase);
    }

    [Fact]
    public void A_stop_survives_though_nobody_asks_again()
    {
        var before = Running();
        before.Stop();
        before.Stop();
        Assert.Equal([new StopDecided("Ctrl-C")], before.Journal.OfType<StopDecided>());

        var after = before.Restart();
        after.TimeOut(RunTimer.Return);

        Assert.Equal("Ctrl-C", Assert.IsType<RunStopped>(after.Outcome).Reason);
    }

    [Fact]
    public void The_checkpoint_and_the_outcome_survive()
    {
        var before = Running();
        before.Say("w1", CheckpointOf(4));
        Assert.Equal(new CheckpointMark(4, "/output/checkpoint-4"), before.Restart().State.Checkpoint);

        before.Say("w1", CheckpointOf(10));
        before.Say("w1", FinishedOf(1, 10, "weights"));
        before.Say("w2", FinishedOf(1, 10, "weights"));
        var after = before.Restart();
        Assert.Equal((RunPhase.Ended, before.Outcome), (after.State.Phase, after.State.Outcome));
    }
}
