using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;
using static Sora.Protocol.Tests.Generations.CoordinatorScene;

namespace Sora.Protocol.Tests.Generations;

public sealed class CoordinatorDoubtTests
{
    [Fact]
    public void A_step_that_is_not_finite_is_evaluated_once_more_with_the_lanes_in_other_hands()
    {
        var scene = Running(2, 4);
        NotFinite(scene, 3, ("w1", []), ("w2", [2, 3]));

        Assert.Null(scene.Outcome);
        Assert.Contains(scene.Events.OfType<RunWarning>(), warning => warning.Message.Contains("lanes 2, 3 (worker w2 (host-w2", StringComparison.Ordinal));
        scene.Form();
        Assert.Equal(3, scene.Plan.FirstStep);
        Assert.Equal([new GenerationMember("w2", new LaneRange(0, 2)), new GenerationMember("w1", new LaneRange(2, 2))], scene.Plan.Members);
    }

    [Fact]
    public void Whose_lanes_are_finite_in_other_hands_is_put_out_with_the_reason()
    {
        var scene = Running(2, 4);
        NotFinite(scene, 3, ("w1", []), ("w2", [3]));
        scene.Form().Ready("w1", "w2").Say("w1", StepOf(2, 4));

        var left = Assert.Single(scene.Events.OfType<WorkerLeft>());
        Assert.Equal("w2", left.Worker);
        Assert.Contains("lane 3 were not finite there, and finite on another worker", left.Reason);
        Assert.Contains(scene.ToldTo("w2"), message => message.Goodbye?.ExitCode == ExitCode.Failure);
        Assert.Equal(["w1"], scene.Halted("w1", 4).Form().Members);
    }

    [Fact]
    public void A_device_that_fails_whatever_lanes_it_has_is_put_out_although_the_step_is_never_finite_with_it()
    {
        var scene = Running(2, 4);
        NotFinite(scene, 3, ("w1", []), ("w2", [2, 3]));
        scene.Form().Ready("w1", "w2");
        NotFinite(scene, 3, ("w2", [0, 1]), ("w1", []));

        Assert.Null(scene.Outcome);
        Assert.Equal("w2", Assert.Single(scene.Events.OfType<WorkerLeft>()).Worker);
        Assert.Equal(["w1"], scene.Form().Members);
    }

    [Fact]
    public void A_lane_that_is_not_finite_in_anybodys_hands_is_a_run_that_diverged()
    {
        var scene = Running(2, 4);
        scene.Say("w1", CheckpointOf(2));
        NotFinite(scene, 3, ("w1", []), ("w2", [3]));
        scene.Form().Ready("w1", "w2");
        NotFinite(scene, 3, ("w2", []), ("w1", [3]));

        var failed = Assert.IsType<RunFailed>(scene.Outcome);
        Assert.Equal((ExitCode.Diverged, "/output/checkpoint-2"), (failed.ExitCode, failed.Checkpoint));
        Assert.Contains("The run diverged at step 3", failed.Message);
        Assert.Empty(scene.Events.OfType<WorkerLeft>());
        Assert.All(new[] { "w1", "w2" }, worker => Assert.Equal(ExitCode.Diverged, (int)scene.ToldTo(worker).Last().Goodbye.ExitCode));
    }

    [Fact]
    public void All_lanes_of_all_workers_twice_is_a_run_that_diverged()
    {
        var scene = Running(3, 6);
        NotFinite(scene, 3, ("w1", [0, 1]), ("w2", [2, 3]), ("w3", [4, 5]));
        scene.Form().Ready("w1", "w2", "w3");
        Assert.DoesNotContain(new GenerationMember("w1", new LaneRange(0, 2)), scene.Plan.Members);
        NotFinite(scene, 3, ("w2", [0, 1]), ("w3", [2, 3]), ("w1", [4, 5]));

        Assert.Equal(ExitCode.Diverged, Assert.IsType<RunFailed>(scene.Outcome).ExitCode);
    }

    [Fact]
    public void A_worker_alone_looks_twice()
    {
        var scene = Running(1, 2);
        NotFinite(scene, 3, ("w1", [0]));
        Assert.Null(scene.Outcome);
        scene.Form().Ready("w1");
        NotFinite(scene, 3, ("w1", [0]));

        Assert.Equal(ExitCode.Diverged, Assert.IsType<RunFailed>(scene.Outcome).ExitCode);
    }

    [Fact]
    public void A_fault_that_does_not_come_again_on_a_worker_alone_is_told_and_no_more()
    {
        var scene = Running(1, 2);
        NotFinite(scene, 3, ("w1", [0]));
        scene.Form().Ready("w1").Say("w1", StepOf(2, 4));

        Assert.Contains(scene.Events.OfType<RunWarning>(), warning => warning.Message.StartsWith("Step 3 is finite this time", StringComparison.Ordinal));
        Assert.Empty(scene.Events.OfType<WorkerLeft>());
        Assert.Null(scene.State.Doubt);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Who_alone_finds_a_step_not_finite_that_the_others_commit_is_put_out(bool othersFirst)
    {
        var scene = Running(3, 3);
        if (othersFirst)
            scene.Say("w1", StepOf(1, 4));
        scene.Say("w2", NotFiniteOf(scene, 3, []));
        scene.Halted("w1", 4).Halted("w3", 4);

        Assert.Contains("it alone", Assert.Single(scene.Events.OfType<WorkerLeft>(), left => left.Worker == "w2").Reason);
        Assert.Equal(["w1", "w3"], scene.Form().Members);
        Assert.Equal(4, scene.Plan.FirstStep);
    }

    [Fact]
    public void A_suspects_state_is_not_given_to_others()
    {
        var scene = Running(3, 3);
        NotFinite(scene, 3, ("w1", []), ("w2", [1]), ("w3", []));
        scene.Form();

        Assert.Equal(["w1", "w3"], scene.Announced.Holders.Select(rank => scene.Announced.Members[(int)rank].Worker).Order());
    }

    [Fact]
    public void A_process_that_was_put_out_for_its_device_stays_out_and_a_new_one_may_prove_itself()
    {
        var scene = Running(2, 4);
        NotFinite(scene, 3, ("w1", []), ("w2", [3]));
        scene.Form().Ready("w1", "w2").Say("w1", StepOf(2, 4));
        scene.Halted("w1", 4).Form().Ready("w1");

        foreach (var coordinator in new[] { scene, scene.Restart() })
        {
            coordinator.Happen(new WorkerArrived(HelloOf("w2", StandingOf("w2", 2, 3, inGeneration: false))));
            Assert.False(coordinator.State.Workers.ContainsKey("w2"));
            Assert.Equal(ExitCode.Failure, (int)coordinator.ToldTo("w2").Last().Goodbye.ExitCode);
        }
        scene.Happen(new WorkerArrived(HelloOf("w2", incarnation: "second")));
        Assert.NotNull(scene.ToldTo("w2").Last().Assignment);
    }

    private static void NotFinite(CoordinatorScene scene, long step, params (string Worker, int[] Lanes)[] members)
    {
        foreach (var (worker, lanes) in members)
            scene.Say(worker, NotFiniteOf(scene, step, lanes));
    }

    private static FromWorker NotFiniteOf(CoordinatorScene scene, long step, int[] lanes)
    {
        var message = HaltedOf(scene.Plan.Number, step, $"The run diverged at step {step}: loss NaN.");
        message.Halted.NotFinite = true;
        message.Halted.Lanes.Add(lanes.Select(lane => (uint)lane));
        return message;
    }
}
