using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Runs;
using static Sora.Protocol.Tests.Generations.CoordinatorScene;

namespace Sora.Protocol.Tests.Generations;

/// <summary>Generations that come to nothing: the run pauses, and leaves out whom the others cannot work with.</summary>
public sealed class CoordinatorPatienceTests
{
    [Fact]
    public void One_fruitless_generation_is_followed_by_the_next_at_once()
    {
        var scene = Running(workers: 3);
        Fruitless(scene, "w1", "w2", "w3");

        Assert.False(scene.State.BackingOff);
        Assert.Equal(2, scene.Form().Plan.Number);
    }

    [Fact]
    public void Who_is_silent_and_waited_for_is_put_out_and_its_stream_closed()
    {
        var scene = Running(workers: 3);
        scene.Say("w1", WaitingOf(1, "w2"));
        scene.Happen(new WorkerSilent("w2"));

        Assert.Equal("w2", Assert.Single(scene.Effects.OfType<DropWorker>()).Worker);
        Assert.Equal("w2", Assert.Single(scene.Events.OfType<WorkerLeft>()).Worker);
        Assert.False(scene.ToldTo("w1").Last().Halt.Gracefully);
        scene.Halted("w1", 0).Halted("w3", 0);
        Assert.Equal(["w1", "w3"], scene.Form().Members);
    }

    [Fact]
    public void Neither_silence_nor_waiting_alone_puts_anybody_out()
    {
        var scene = Running(workers: 3);
        scene.Happen(new WorkerSilent("w2"));
        scene.Say("w1", WaitingOf(1, "w3"));
        scene.Happen(new WorkerSilent("w2"));
        // Of another generation, of itself, and no longer true.
        scene.Say("w1", WaitingOf(7, "w2"));
        scene.Happen(new WorkerSilent("w2"));
        scene.Say("w2", WaitingOf(1, "w2"));
        scene.Happen(new WorkerSilent("w2"));
        scene.Say("w1", WaitingOf(1, "w2"));
        scene.Say("w1", WaitingOf(1));
        scene.Happen(new WorkerSilent("w2"));

        Assert.Equal(RunPhase.Running, scene.State.Phase);
        Assert.Empty(scene.Effects.OfType<DropWorker>());
    }

    [Fact]
    public void After_two_fruitless_generations_the_run_pauses()
    {
        var scene = Running(workers: 3);
        Fruitless(scene, "w1", "w2", "w3");
        scene.Form().Ready("w1", "w2", "w3");
        Fruitless(scene, "w1", "w2", "w3");
        Assert.Equal(2, scene.Effects.OfType<DrawSecret>().Count());

        scene.TimeOut(RunTimer.Backoff);
        Assert.Equal(3, scene.Form().Plan.Number);
    }

    [Fact]
    public void Whom_most_others_accuse_is_left_out_for_a_while()
    {
        var scene = Running(workers: 3);
        Accuse(scene);
        scene.Form().Ready("w1", "w2", "w3");
        Accuse(scene);
        scene.TimeOut(RunTimer.Backoff);
        Assert.Contains("it and w1, w3 cannot exchange gradients", scene.Events.OfType<RunWarning>().Last().Message);
        Assert.Equal(["w1", "w3"], scene.Form().Members);

        scene.Ready("w1", "w3").TimeOut(RunTimer.Quarantine);
        Assert.True(scene.ToldTo("w1").Last().Halt.Gracefully);
        scene.Halted("w1", 5).Halted("w3", 5);
        Assert.Equal(["w1", "w2", "w3"], scene.Form().Members);
    }

    [Fact]
    public void Who_accuses_all_others_is_left_out_itself()
    {
        var scene = Running(workers: 3);
        for (var generation = 1; generation <= 2; generation++)
        {
            if (generation > 1)
                scene.Form().Ready("w1", "w2", "w3");
            scene.Halted("w1", 0, "nothing moved", "w2", "w3").Halted("w2", 0, "w1 is gone").Halted("w3", 0, "w1 is gone");
        }
        scene.TimeOut(RunTimer.Backoff);

        Assert.Equal(["w2", "w3"], scene.Form().Members);
    }

    [Fact]
    public void Two_that_accuse_each_other_are_separated_the_same_way_by_every_coordinator()
    {
        var scene = Running();
        for (var generation = 1; generation <= 2; generation++)
        {
            if (generation > 1)
                scene.Form().Ready("w1", "w2");
            scene.Halted("w1", 0, "nothing moved", "w2").Halted("w2", 0, "nothing moved", "w1");
        }
        scene.TimeOut(RunTimer.Backoff);

        Assert.Equal(["w1"], scene.Form().Members);
    }

    [Fact]
    public void Nobody_is_left_out_when_the_run_needs_everybody()
    {
        var scene = Running(workers: 3, change: spec => spec with { MinWorkers = 3 });
        Accuse(scene);
        scene.Form().Ready("w1", "w2", "w3");
        Accuse(scene);
        scene.TimeOut(RunTimer.Backoff);

        Assert.Equal(["w1", "w2", "w3"], scene.Form().Members);
    }

    private static FromWorker WaitingOf(long generation, params string[] workers) => new() { Heartbeat = new Heartbeat { Generation = (ulong)generation, WaitsFor = { workers } } };

    private static void Fruitless(CoordinatorScene scene, string first, params string[] others)
    {
        scene.Halted(first, 0, "the exchange broke");
        foreach (var other in others)
            scene.Halted(other, 0);
    }

    private static void Accuse(CoordinatorScene scene) =>
        scene.Halted("w1", 0, "w2 is silent", "w2").Halted("w3", 0, "w2 is silent", "w2").Halted("w2", 0, "w1 is silent", "w1");
}
