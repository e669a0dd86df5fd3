using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;
using static Sora.Protocol.Tests.Generations.CoordinatorScene;

namespace Sora.Protocol.Tests.Generations;

/// <summary>Finished, stopped, failed.</summary>
public sealed class CoordinatorEndTests
{
    [Fact]
    public void A_stop_halts_saves_and_says_goodbye_with_the_code_for_resumable()
    {
        var scene = Running();
        scene.Stop();
        Assert.True(scene.ToldTo("w1").Last().Halt.Gracefully);
        scene.Halted("w1", 6).Halted("w2", 6);
        Assert.Equal(6ul, scene.ToldTo("w1").Last().Save.Step);
        Assert.DoesNotContain(scene.ToldTo("w2"), message => message.Save is not null);

        scene.Say("w1", CheckpointOf(6));

        Assert.Equal(new RunStopped(6, "/output/checkpoint-6", "Ctrl-C"), scene.Outcome);
        Assert.All(["w1", "w2"], worker => Assert.Equal((uint)ExitCode.Resumable, scene.ToldTo(worker).Last().Goodbye.ExitCode));
    }

    [Fact]
    public void A_stop_whose_checkpoint_fails_says_so_and_names_the_one_there_is()
    {
        var scene = Running();
        scene.Say("w1", CheckpointOf(4));
        scene.Stop();
        scene.Halted("w1", 6).Halted("w2", 6);
        scene.Say("w1", CheckpointOf(6, error: "the disk is full"));

        Assert.Contains("No checkpoint of step 6: the disk is full", Assert.Single(scene.Events.OfType<RunWarning>()).Message);
        Assert.Equal(new RunStopped(6, "/output/checkpoint-4", "Ctrl-C"), scene.Outcome);
    }

    [Fact]
    public void A_stop_whose_checkpoint_takes_too_long_ends_without_it()
    {
        var scene = Running();
        scene.Stop();
        scene.Halted("w1", 6).Halted("w2", 6);
        scene.TimeOut(RunTimer.Save);

        Assert.Equal(new RunStopped(6, null, "Ctrl-C"), scene.Outcome);
    }

    [Fact]
    public void When_the_worker_that_saves_dies_another_one_saves()
    {
        var scene = Running();
        scene.Stop();
        scene.Halted("w1", 6).Halted("w2", 6);
        scene.Lose("w1");
        Assert.Equal(6ul, scene.ToldTo("w2").Last().Save.Step);

        scene.Say("w2", CheckpointOf(6));
        Assert.Equal(new RunStopped(6, "/output/checkpoint-6", "Ctrl-C"), scene.Outcome);
    }

    [Fact]
    public void A_stop_before_the_first_generation_needs_no_checkpoint()
    {
        var scene = new CoordinatorScene().Arrive("w1");
        scene.Stop();

        Assert.Equal(new RunStopped(0, null, "Ctrl-C"), scene.Outcome);
        Assert.Equal((uint)ExitCode.Resumable, scene.ToldTo("w1").Last().Goodbye.ExitCode);
    }

    [Fact]
    public void A_stop_that_meets_the_last_step_finishes_the_run()
    {
        var scene = Running();
        scene.Say("w1", CheckpointOf(10));
        scene.Say("w1", FinishedOf(1, 10, "weights"));
        scene.Stop();
        scene.Say("w2", FinishedOf(1, 10, "weights"));

        Assert.IsType<RunFinished>(scene.Outcome);
    }

    [Fact]
    public void When_the_writer_of_the_last_checkpoint_died_another_worker_writes_it()
    {
        var scene = Running();
        scene.Say("w2", FinishedOf(1, 10, "weights"));
        scene.Lose("w1");
        scene.TimeOut(RunTimer.Absence);
        Assert.False(scene.ToldTo("w2").Last().Halt.Gracefully);
        scene.Halted("w2", 10).Form();
        Assert.Equal((10ul, -1), (scene.Announced.FirstStep, scene.Announced.SavedStep));

        scene.Ready("w2").Say("w2", CheckpointOf(10));
        scene.Say("w2", FinishedOf(2, 10, "weights"));
        Assert.IsType<RunFinished>(scene.Outcome);
    }

    [Fact]
    public void Replicas_that_end_with_other_weights_fail_the_run()
    {
        var scene = Running();
        scene.Say("w1", CheckpointOf(10));
        scene.Say("w1", FinishedOf(1, 10, "weights"));
        scene.Say("w2", FinishedOf(1, 10, "flipped"));

        var failed = Assert.IsType<RunFailed>(scene.Outcome);
        Assert.Equal("w2", failed.Worker);
        Assert.Contains("The replicas diverged", failed.Message);
    }

    [Fact]
    public void A_failed_worker_is_put_out_and_the_others_go_on()
    {
        var scene = Running();
        scene.Say("w2", FailedOf("CUDA error: an illegal memory access"));
        Assert.Contains(new WorkerLeft("w2", "CUDA error: an illegal memory access"), scene.Events);

        Assert.Equal(["w1"], scene.Halted("w1", 5).Form().Members);
    }

    [Fact]
    public void Three_failures_without_a_step_between_them_end_the_run()
    {
        var scene = Running(workers: 4);
        scene.Say("w2", FailedOf("out of memory"));
        scene.Say("w3", FailedOf("out of memory"));
        Assert.Null(scene.Outcome);
        scene.Say("w4", FailedOf("out of memory"));

        Assert.Contains("out of memory", Assert.IsType<RunFailed>(scene.Outcome).Message);
    }

    [Fact]
    public void Progress_forgives_failures()
    {
        var scene = Running(workers: 4);
        scene.Say("w2", FailedOf("out of memory"));
        scene.Say("w3", FailedOf("out of memory"));
        scene.Say("w1", StepOf(1, 1));
        scene.Say("w4", FailedOf("out of memory"));

        Assert.Null(scene.Outcome);
    }

    [Fact]
    public void What_is_wrong_with_the_job_ends_the_run_at_once_and_names_the_checkpoint()
    {
        var scene = Running();
        scene.Say("w1", CheckpointOf(4));
        scene.Say("w1", FailedOf("the loss is not finite", ExitCode.Diverged));

        var failed = Assert.IsType<RunFailed>(scene.Outcome);
        Assert.Equal(("w1", ExitCode.Diverged, "/output/checkpoint-4"), (failed.Worker, failed.ExitCode, failed.Checkpoint));
        Assert.Contains("Resume from step 4", failed.Message);
    }

    [Fact]
    public void When_all_is_computed_and_the_only_holder_cannot_save_nothing_is_computed_again()
    {
        var scene = Running(1, 4);
        scene.Say("w1", StepOf(1, 10));
        scene.Say("w1", FailedOf("No space left on device", cannotSave: true));
        Assert.Contains("No space left", Assert.IsType<RunFailed>(scene.Outcome).Message);
    }

    [Fact]
    public void When_all_is_computed_another_holder_saves()
    {
        var scene = Running(2, 4);
        scene.Say("w1", StepOf(1, 10));
        scene.Say("w1", FailedOf("No space left on device", cannotSave: true));
        Assert.Null(scene.Outcome);
        Assert.Equal(["w2"], scene.Halted("w2", 10).Form().Members);
    }

    [Fact]
    public void A_step_is_shown_once_with_its_rate()
    {
        var scene = Running();
        scene.Say("w1", StepOf(1, 1));
        scene.Say("w2", StepOf(1, 1));

        Assert.Equal(4000, Assert.Single(scene.Events.OfType<StepCommitted>()).TokensPerSecond);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_change_that_meets_the_last_step_does_not_wait_for_those_who_have_finished(bool saved)
    {
        var scene = Running();
        scene.Stop();
        if (saved)
            scene.Say("w1", CheckpointOf(10));
        else
            scene.Say("w1", CheckpointOf(10, error: "the disk is full"));
        scene.Say("w1", FinishedOf(1, 10, "weights"));
        scene.Say("w2", FinishedOf(1, 10, "weights"));

        Assert.Equal(saved, scene.Outcome is RunFinished);
        Assert.Equal(!saved, scene.ToldTo("w2").Last().Halt is { Gracefully: false });
    }

    [Fact]
    public void Who_finishes_although_told_to_halt_at_once_is_told_again()
    {
        var scene = Running(workers: 3);
        scene.Halted("w3", 9, "nothing moved", "w1");
        scene.Say("w2", FinishedOf(1, 10, "weights"));

        Assert.Equal(2, scene.ToldTo("w2").Count(message => message.Halt is { Gracefully: false }));
    }

    [Fact]
    public void When_all_is_done_and_saved_nobody_need_take_the_last_state_any_more()
    {
        var scene = Running();
        scene.Say("w1", CheckpointOf(10));
        scene.Say("w1", FinishedOf(1, 10, "weights"));
        scene.Halted("w2", 9, "w1 is gone");
        scene.Halted("w1", 10);

        Assert.Equal("weights", Assert.IsType<RunFinished>(scene.Outcome).WeightsSha256);
    }

    [Fact]
    public void Only_holders_make_up_for_a_missing_last_checkpoint()
    {
        var scene = Running();
        scene.Lose("w2");
        scene.Halted("w1", 10, "w2 is gone").Join("w3").Form();

        Assert.Equal(["w1"], scene.Members);
    }

    [Fact]
    public void An_earlier_checkpoint_that_comes_late_is_not_the_one_ordered()
    {
        var scene = Running();
        scene.Stop();
        scene.Halted("w1", 6).Halted("w2", 6);
        scene.Say("w1", CheckpointOf(4));
        Assert.Null(scene.Outcome);

        scene.Say("w1", CheckpointOf(6));
        Assert.Equal(new RunStopped(6, "/output/checkpoint-6", "Ctrl-C"), scene.Outcome);
    }

    [Fact]
    public void Steps_told_late_are_shown_whatever_goes_on()
    {
        var scene = Running();
        scene.Stop();
        scene.Halted("w1", 6).Halted("w2", 6);
        scene.Say("w1", StepOf(1, 6));

        Assert.Equal(6, Assert.Single(scene.Events.OfType<StepCommitted>()).Step);
    }

    [Fact]
    public void A_worker_that_dials_after_the_end_is_told_how_it_was()
    {
        var scene = Running();
        scene.Say("w1", CheckpointOf(10));
        scene.Lose("w2");
        scene.Say("w1", FinishedOf(1, 10, "weights"));
        scene.TimeOut(RunTimer.Absence);
        Assert.IsType<RunFinished>(scene.Outcome);

        var effects = scene.Happen(new WorkerArrived(HelloOf("w2", StandingOf("w2", 1, 10, inGeneration: true))));

        Assert.Equal((uint)ExitCode.Ok, Assert.Single(Told(effects, "w2")).Goodbye.ExitCode);
        Assert.Empty(scene.Happen(new WorkerArrived(HelloOf("w9"))));
    }

    [Fact]
    public void A_finished_run_is_not_computed_again()
    {
        var scene = Running();
        scene.Say("w1", CheckpointOf(10));
        scene.Say("w1", FinishedOf(1, 10, "weights"));
        scene.Say("w2", FinishedOf(1, 10, "weights"));

        Assert.Empty(scene.Happen(new RunSubmitted(scene.State.Spec!)));
    }
}
