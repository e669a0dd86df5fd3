using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Runs;
using static Sora.Protocol.Tests.Generations.CoordinatorScene;

namespace Sora.Protocol.Tests.Generations;

public sealed class CoordinatorVerifyingTests
{
    [Fact]
    public void Equal_replicas_are_no_news()
    {
        var scene = Running(3, 3);
        Assert.Empty(Tell(scene, 5, "a", "a", "a"));
    }

    [Fact]
    public void A_replica_that_differs_is_named_and_takes_the_state_of_the_majority()
    {
        var scene = Running(3, 3);
        Tell(scene, 5, "a", "x", "a");
        Assert.Contains(scene.Events.OfType<RunWarning>(), warning => warning.Message.Contains("worker w2 (host-w2", StringComparison.Ordinal));
        scene.Halted("w1", 5).Halted("w2", 5).Halted("w3", 5).Form();

        Assert.Equal(5, scene.Plan.FirstStep);
        Assert.Equal(["w1", "w2", "w3"], scene.Members);
        Assert.Equal([0u, 2u], scene.Announced.Holders);
    }

    [Fact]
    public void A_healing_that_breaks_off_does_not_make_the_replica_trustworthy()
    {
        var scene = Running(3, 3);
        Tell(scene, 5, "a", "x", "a");
        scene.Halted("w1", 5).Halted("w2", 5).Halted("w3", 5).Form();
        scene.Halted("w1", 5, "broken").Halted("w2", 5).Halted("w3", 5).Form();
        Assert.Equal([0u, 2u], scene.Announced.Holders);
        scene.Ready("w1", "w2", "w3").Halted("w1", 6, "broken").Halted("w2", 6).Halted("w3", 6).Form();
        Assert.Equal([0u, 1u, 2u], scene.Announced.Holders);
    }

    [Fact]
    public void Without_a_majority_the_run_goes_back_to_the_last_checkpoint()
    {
        var scene = Running(2, 2);
        scene.Say("w1", CheckpointOf(3));
        Tell(scene, 5, "a", "b");
        scene.Halted("w1", 5).Halted("w2", 5).Form();

        Assert.Equal(3, scene.Plan.FirstStep);
        Assert.Empty(scene.Announced.Holders);
        Assert.Equal("/output/checkpoint-3", scene.Announced.RestoreFrom);
    }

    [Fact]
    public void A_machine_that_corrupts_twice_is_put_out()
    {
        var scene = Running(3, 3);
        Tell(scene, 5, "a", "x", "a");
        scene.Halted("w1", 5).Halted("w2", 5).Halted("w3", 5).Form().Ready("w1", "w2", "w3");
        Tell(scene, 6, "a", "y", "a");
        scene.Halted("w1", 6).Halted("w3", 6).Form();

        Assert.Equal(["w1", "w3"], scene.Members);
        Assert.Contains(scene.Events.OfType<WorkerLeft>(), left => left.Worker == "w2" && left.Reason.Contains("memory", StringComparison.Ordinal));
        Assert.Contains(scene.ToldTo("w2"), message => message.Goodbye?.ExitCode == 1);
    }

    [Fact]
    public void Who_was_put_out_for_corruption_is_not_taken_back_and_a_new_process_may_prove_itself()
    {
        var scene = Running(3, 3);
        Tell(scene, 5, "a", "x", "a");
        scene.Halted("w1", 5).Halted("w2", 5).Halted("w3", 5).Form().Ready("w1", "w2", "w3");
        Tell(scene, 6, "a", "y", "a");
        scene.Halted("w1", 6).Halted("w3", 6).Form().Ready("w1", "w3");

        foreach (var coordinator in new[] { scene, scene.Restart() })
        {
            coordinator.Happen(new WorkerArrived(HelloOf("w2", StandingOf("w2", 2, 6, inGeneration: true))));
            Assert.False(coordinator.State.Workers.ContainsKey("w2"));
            Assert.Contains("2 times", coordinator.ToldTo("w2").Last().Goodbye.Reason);
        }
        scene.Happen(new WorkerArrived(HelloOf("w2", incarnation: "second")));
        Assert.NotNull(scene.ToldTo("w2").Last().Assignment);
    }

    [Fact]
    public void Who_differed_once_and_was_away_for_long_is_not_trusted_when_it_comes_back()
    {
        var scene = Running(3, 3);
        Tell(scene, 5, "a", "x", "a");
        scene.Lose("w2");
        scene.TimeOut(RunTimer.Absence);
        scene.Happen(new WorkerArrived(HelloOf("w2", StandingOf("w2", 1, 5, inGeneration: false))));
        scene.Halted("w1", 5).Halted("w3", 5).Form();

        Assert.Equal(["w1", "w2", "w3"], scene.Members);
        Assert.Equal([0u, 2u], scene.Announced.Holders);
        scene.Ready("w1", "w2", "w3");
        Tell(scene, 6, "a", "y", "a");
        Assert.Contains(scene.Events.OfType<WorkerLeft>(), left => left.Worker == "w2" && left.Reason.Contains("2 times", StringComparison.Ordinal));
    }

    [Fact]
    public void Hashes_of_different_steps_are_not_compared()
    {
        var scene = Running(2, 2);
        scene.Say("w1", HashOf(scene, 5, "a"));
        scene.Say("w1", HashOf(scene, 6, "b"));
        scene.Say("w2", HashOf(scene, 5, "a"));
        scene.Say("w2", HashOf(scene, 6, "b"));
        Assert.Empty(scene.Events.OfType<RunWarning>());
    }

    private static List<RunWarning> Tell(CoordinatorScene scene, long step, params string[] hashes)
    {
        for (var i = 0; i < hashes.Length; i++)
            scene.Say($"w{i + 1}", HashOf(scene, step, hashes[i]));
        return [.. scene.Events.OfType<RunWarning>()];
    }

    private static FromWorker HashOf(CoordinatorScene scene, long step, string hash) =>
        new() { StateHash = new StateHash { Run = Run, Generation = (ulong)scene.Plan.Number, Step = (ulong)step, Hash = hash } };
}
