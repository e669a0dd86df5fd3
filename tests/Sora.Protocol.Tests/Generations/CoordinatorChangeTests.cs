using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;
using static Sora.Protocol.Tests.Generations.CoordinatorScene;

namespace Sora.Protocol.Tests.Generations;

/// <summary>Workers die, join and leave while the run goes on.</summary>
public sealed class CoordinatorChangeTests
{
    [Fact]
    public void A_killed_worker_makes_the_others_halt_at_once_and_the_next_generation_begins_where_they_stand()
    {
        var scene = Running(workers: 3, lanes: 8);
        scene.Lose("w3");
        Assert.Equal(RunPhase.Running, scene.State.Phase);

        scene.Halted("w1", 5, "w3 is gone", "w3");
        Assert.False(scene.ToldTo("w2").Last().Halt.Gracefully);
        Assert.DoesNotContain("w3", scene.State.Workers.Keys);
        scene.Halted("w2", 5).Form();

        Assert.Equal((2, 5), (scene.Plan.Number, scene.Plan.FirstStep));
        Assert.Equal(["w1", "w2"], scene.Members);
        Assert.Equal([0u, 1u], scene.Announced.Holders);
        Assert.Equal("", scene.Announced.RestoreFrom);
        Assert.Equal([new LaneRange(0, 4), new LaneRange(4, 4)], scene.Plan.Members.Select(member => member.Lanes));
    }

    [Fact]
    public void A_laggard_takes_the_state_from_those_who_hold_the_highest_step()
    {
        var scene = Running(workers: 3, lanes: 8);
        scene.Lose("w3");
        scene.Halted("w1", 5, "w3 is gone", "w3").Halted("w2", 6).Form();

        Assert.Equal(6, scene.Plan.FirstStep);
        Assert.Equal([1u], scene.Announced.Holders);
    }

    [Fact]
    public void No_generation_is_formed_before_all_who_can_have_halted()
    {
        var scene = Running(workers: 3);
        scene.Lose("w3");
        scene.Halted("w1", 5, "w3 is gone");

        Assert.Equal(RunPhase.Halting, scene.State.Phase);
        Assert.Single(scene.Effects.OfType<DrawSecret>());
    }

    [Fact]
    public void Who_does_not_halt_in_time_is_put_out_and_cut_off()
    {
        var scene = Running(workers: 3);
        scene.Halted("w1", 5, "w3 is silent", "w3").Halted("w2", 5);
        scene.TimeOut(RunTimer.Halt);

        Assert.Contains(new DropWorker("w3"), scene.Effects);
        Assert.Equal(["w1", "w2"], scene.Form().Members);
    }

    [Fact]
    public void A_broken_stream_alone_does_not_disturb_the_training()
    {
        var scene = Running();
        scene.Lose("w2");
        scene.Happen(new WorkerArrived(HelloOf("w2", StandingOf("w2", 1, 3, inGeneration: true))));

        Assert.Equal(RunPhase.Running, scene.State.Phase);
        Assert.DoesNotContain(scene.Effects, effect => effect is TellWorker { Message.Halt: not null });
    }

    [Fact]
    public void A_worker_that_stays_away_is_replaced()
    {
        var scene = Running();
        scene.Lose("w2");
        scene.TimeOut(RunTimer.Absence);

        Assert.False(scene.ToldTo("w1").Last().Halt.Gracefully);
        Assert.Contains(scene.Events, happened => happened is WorkerLeft { Worker: "w2" });
    }

    [Fact]
    public void A_put_out_worker_that_wakes_is_told_to_halt_and_joins_the_next_generation()
    {
        var scene = Running();
        scene.Lose("w2");
        scene.TimeOut(RunTimer.Absence);
        scene.Halted("w1", 5).Form().Ready("w1");

        scene.Happen(new WorkerArrived(HelloOf("w2", StandingOf("w2", 1, 4, inGeneration: true))));
        Assert.Equal((1ul, false), (scene.ToldTo("w2").Last().Halt.Generation, scene.ToldTo("w2").Last().Halt.Gracefully));
        scene.Say("w2", HaltedOf(1, 5, ""));
        Assert.True(scene.ToldTo("w1").Last().Halt.Gracefully);
        scene.Halted("w1", 8).Form();

        Assert.Equal((3, 8), (scene.Plan.Number, scene.Plan.FirstStep));
        Assert.Equal([0u], scene.Announced.Holders);
    }

    [Fact]
    public void A_second_hello_of_the_same_process_changes_nothing()
    {
        var scene = Running();
        var before = scene.State;

        Assert.Empty(scene.Happen(new WorkerArrived(HelloOf("w2", StandingOf("w2", 1, 3, inGeneration: true)))));

        Assert.Equal(before.Workers["w2"], scene.State.Workers["w2"]);
    }

    [Fact]
    public void Another_process_under_the_same_name_is_another_worker()
    {
        var scene = Running();
        var effects = scene.Happen(new WorkerArrived(HelloOf("w2", incarnation: "second")));

        Assert.Contains(Told(effects, "w2"), message => message.Assignment is not null);
        Assert.Contains(Told(effects, "w1"), message => message.Halt is { Gracefully: false });
        Assert.Equal(-1, scene.State.Workers["w2"].HeldStep);
    }

    [Fact]
    public void A_newcomer_proves_itself_while_the_others_compute_and_joins_after_a_step()
    {
        var scene = Running(workers: 3, change: spec => spec with { StartWorkers = 2 }).Arrive("w0");
        Assert.Equal(RunPhase.Running, scene.State.Phase);

        scene.Prove(("w0", "a"));
        Assert.True(scene.ToldTo("w1").Last().Halt.Gracefully);
        scene.Halted("w1", 4).Halted("w2", 4).Form();

        Assert.Equal(["w0", "w1", "w2"], scene.Members);
        Assert.Equal([1u, 2u], scene.Announced.Holders);
        Assert.Equal(4, scene.Plan.FirstStep);
    }

    [Fact]
    public void A_draining_worker_leaves_as_soon_as_all_have_halted_and_another_holds_its_state()
    {
        var scene = Running();
        scene.Say("w2", WantsToLeave);
        Assert.All(["w1", "w2"], worker => Assert.True(scene.ToldTo(worker).Last().Halt.Gracefully));

        scene.Halted("w1", 4).Halted("w2", 4);
        Assert.Equal((uint)ExitCode.Ok, scene.ToldTo("w2").Last().Goodbye.ExitCode);
        Assert.Equal(["w1"], scene.Form().Members);
    }

    [Fact]
    public void The_last_holder_hands_over_before_it_leaves()
    {
        var scene = Running(workers: 1);
        scene.Say("w1", WantsToLeave);
        // A newcomer is proved at the moment at which the only holder halts.
        scene.Join("w2");
        scene.Halted("w1", 4);
        Assert.Null(scene.Outcome);
        Assert.DoesNotContain(scene.ToldTo("w1"), message => message.Goodbye is not null);
        scene.Form();
        Assert.Equal(["w1"], scene.Announced.Members.Where((_, rank) => scene.Announced.Holders.Contains((uint)rank)).Select(member => member.Worker));
    }

    [Fact]
    public void A_draining_worker_with_nobody_to_take_over_writes_a_checkpoint_and_the_run_waits()
    {
        var scene = Running(workers: 1);
        scene.Say("w1", WantsToLeave);
        scene.Halted("w1", 4);
        Assert.Equal(4ul, scene.ToldTo("w1").Last().Save.Step);

        scene.Say("w1", CheckpointOf(4));
        Assert.NotNull(scene.ToldTo("w1").Last().Goodbye);
        Assert.Equal(new RunWaiting(0, 1, 4), scene.Events.Last());
        Assert.Null(scene.Outcome);

        scene.Join("w2").Form();
        Assert.Equal((4, "/output/checkpoint-4"), (scene.Plan.FirstStep, scene.Announced.RestoreFrom));
    }

    [Fact]
    public void Below_the_fewest_workers_the_run_waits_and_says_so_once()
    {
        var scene = Running(change: spec => spec with { MinWorkers = 2 });
        scene.Lose("w2");
        scene.Halted("w1", 5, "w2 is gone", "w2");
        scene.Arrive("w3");

        Assert.Equal(new RunWaiting(1, 2, 5), Assert.Single(scene.Events.OfType<RunWaiting>()));
        scene.Prove(("w3", "a"));
        Assert.Equal(["w1", "w3"], scene.Form().Members);
    }

    [Fact]
    public void With_no_holder_left_the_run_goes_back_to_the_last_checkpoint()
    {
        var scene = Running(workers: 1);
        scene.Say("w1", CheckpointOf(4));
        scene.Lose("w1");
        scene.TimeOut(RunTimer.Absence);
        scene.Join("w2").Form();

        Assert.Empty(scene.Announced.Holders);
        Assert.Equal((4, "/output/checkpoint-4"), (scene.Plan.FirstStep, scene.Announced.RestoreFrom));
    }

    [Fact]
    public void The_only_holder_gets_the_time_to_dial_again_before_the_run_goes_back_to_a_checkpoint()
    {
        var scene = Running(workers: 2, change: spec => spec with { StartWorkers = 1 });
        scene.Say("w1", StepOf(1, 5));
        scene.Join("w2");
        scene.Halted("w1", 6);
        // The generation is decided when the secret is there, and its stream breaks before.
        scene.Lose("w1");
        Assert.Empty(scene.Form().Journal.OfType<GenerationDecided>().Skip(1));

        scene.Happen(new WorkerArrived(HelloOf("w1", StandingOf("w1", 1, 6, inGeneration: false))));
        Assert.Equal(6, scene.Form().Plan.FirstStep);
    }

    [Fact]
    public void An_unlinked_holder_is_not_put_out_while_nobody_else_holds_anything()
    {
        var scene = Running();
        scene.Say("w1", StepOf(1, 5));
        scene.Lose("w1");
        scene.Say("w2", FailedOf("out of memory"));
        Assert.Equal(RunPhase.Halting, scene.State.Phase);
        scene.TimeOut(RunTimer.Halt);
        Assert.Contains("w1", scene.State.Workers.Keys);

        scene.TimeOut(RunTimer.Absence);
        Assert.DoesNotContain("w1", scene.State.Workers.Keys);
        Assert.Equal(RunPhase.Gathering, scene.State.Phase);
    }

    [Fact]
    public void A_state_far_behind_the_checkpoint_is_not_gone_back_to()
    {
        var scene = Running();
        scene.Halted("w1", 3, "nothing moved", "w2");
        scene.TimeOut(RunTimer.Halt);
        scene.Say("w1", CheckpointOf(7));
        scene.Form();

        Assert.Empty(scene.Announced.Holders);
        Assert.Equal((7, "/output/checkpoint-7"), (scene.Plan.FirstStep, scene.Announced.RestoreFrom));
    }

    [Fact]
    public void One_step_is_computed_again_rather_than_a_checkpoint_read()
    {
        var scene = Running();
        scene.Say("w1", CheckpointOf(6));
        scene.Lose("w1");
        scene.Halted("w2", 5, "w1 is gone", "w1").Form();

        Assert.Equal((5, ""), (scene.Plan.FirstStep, scene.Announced.RestoreFrom));
    }

    [Fact]
    public void Members_that_do_not_become_ready_halt_and_try_again()
    {
        var scene = new CoordinatorScene().Arrive("w1", "w2").Prove(("w1", "a"), ("w2", "a")).Form().Ready("w1");
        scene.TimeOut(RunTimer.Readiness);

        Assert.All(["w1", "w2"], worker => Assert.False(scene.ToldTo(worker).Last().Halt.Gracefully));
        Assert.Equal(["w1", "w2"], scene.Halted("w1", 0).Halted("w2", -1).Form().Members);
    }

    [Theory]
    [InlineData("another run", 1)]
    [InlineData(Run, 2)]
    [InlineData(Run, 0)]
    public void Messages_of_another_run_or_generation_do_nothing(string run, ulong generation)
    {
        var scene = Running();
        var before = scene.State;
        foreach (var message in new FromWorker[]
        {
            new() { Canary = new CanaryResult { Run = run } },
            new() { Ready = new Ready { Run = run, Generation = generation } },
            new() { Step = new StepReport { Run = run, Generation = generation, Step = 3 } },
            new() { Evaluation = new EvaluationReport { Run = run, Generation = generation, Step = 3 } },
            new() { Halted = new Halted { Run = run, Generation = generation, Step = 3 } },
            new() { Finished = new Finished { Run = run, Generation = generation, Step = 3 } },
            new() { Failed = new Failed { Run = run, Generation = generation == 0 ? 9 : generation, Message = "old" } },
        })
        {
            Assert.Empty(scene.Say("w1", message));
        }
        Assert.Same(before, scene.State);
    }
}
