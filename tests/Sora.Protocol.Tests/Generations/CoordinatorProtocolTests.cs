using Google.Protobuf;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;
using static Sora.Protocol.Tests.Generations.CoordinatorScene;

namespace Sora.Protocol.Tests.Generations;

public sealed class CoordinatorProtocolTests
{
    [Fact]
    public void An_undisturbed_run_goes_through_every_phase_and_finishes()
    {
        var scene = new CoordinatorScene();
        Assert.Equal(RunPhase.Gathering, scene.State.Phase);
        scene.Arrive("w2", "w1");
        Assert.Equal(RunPhase.Proving, scene.State.Phase);
        scene.Prove(("w2", "a"), ("w1", "a"));
        Assert.Equal(RunPhase.Forming, scene.State.Phase);
        scene.Form();
        Assert.Equal(RunPhase.AwaitingReady, scene.State.Phase);
        scene.Ready("w1", "w2");
        Assert.Equal(RunPhase.Running, scene.State.Phase);
        scene.Say("w1", StepOf(1, 10, loss: 1.5));
        scene.Say("w1", FinishedOf(1, 10, "weights"));
        Assert.Equal(RunPhase.Finishing, scene.State.Phase);
        scene.Say("w2", FinishedOf(1, 10, "weights"));
        Assert.Equal(RunPhase.Ended, scene.State.Phase);
        Assert.Equal(new RunFinished(10, 1.5, null, "weights", "/output"), scene.Outcome);
    }

    [Fact]
    public void Members_are_ranked_by_id_whoever_came_first()
    {
        var scene = new CoordinatorScene(workers: 3, lanes: 8).Arrive("w3", "w1", "w2").Prove(("w2", "a"), ("w3", "a"), ("w1", "a")).Form();

        var members = scene.ToldTo("w2").Single(message => message.Generation is not null).Generation.Members;

        Assert.Equal(["w1", "w2", "w3"], members.Select(member => member.Worker));
        Assert.Equal([(0u, 2u), (2u, 3u), (5u, 3u)], members.Select(member => (member.FirstLane, member.LaneCount)));
        Assert.Equal("tcp:w2:1", Assert.Single(members[1].Endpoints));
    }

    [Fact]
    public void Strict_refuses_the_minority_and_names_hashes_fingerprints_and_the_way_out()
    {
        var scene = new CoordinatorScene(workers: 3).Arrive("w1", "w2", "w3").Prove(("w1", "odd"), ("w2", "even"), ("w3", "even"));

        var refused = Assert.Single(scene.ToldTo("w1"), message => message.Refused is not null).Refused.Reason;
        Assert.Contains("odd", refused);
        Assert.Contains("even", refused);
        Assert.Contains("numerics of w1", refused);
        Assert.Contains("numerics of w2", refused);
        Assert.Contains("numerics: warn", refused);
        var failed = Assert.IsType<RunFailed>(scene.Outcome);
        Assert.Equal("w1", failed.Worker);
        Assert.Contains(refused, failed.Message);
    }

    [Fact]
    public void A_tie_of_canaries_is_decided_by_worker_id_not_by_arrival()
    {
        var early = new CoordinatorScene().Arrive("w1", "w2").Prove(("w1", "x"), ("w2", "y"));
        var late = new CoordinatorScene().Arrive("w2", "w1").Prove(("w2", "y"), ("w1", "x"));

        Assert.All([early, late], scene => Assert.Equal("w2", Assert.IsType<RunFailed>(scene.Outcome).Worker));
    }

    [Fact]
    public void A_standby_takes_the_place_of_a_refused_worker()
    {
        var scene = new CoordinatorScene().Arrive("w1", "w2", "w3").Prove(("w1", "a"), ("w2", "b")).Prove(("w3", "a")).Form();

        Assert.Null(scene.Outcome);
        Assert.Equal(["w1", "w3"], scene.State.Generation!.Members.Select(member => member.Worker));
        Assert.Equal(2, scene.Events.OfType<WorkerJoined>().Count());
    }

    [Fact]
    public void The_canary_of_the_checkpoint_outranks_the_workers()
    {
        var scene = new CoordinatorScene(change: spec => spec with { ExpectedCanary = "recorded", ResumeFrom = "/output/checkpoint-5", FirstStep = 5 })
            .Arrive("w1", "w2").Prove(("w1", "a"), ("w2", "a"));

        Assert.Equal(2, scene.Events.OfType<WorkerRefused>().Count());
        Assert.Contains("recorded in the checkpoint /output/checkpoint-5", Assert.IsType<RunFailed>(scene.Outcome).Message);
    }

    [Fact]
    public void Warn_admits_a_differing_worker_and_marks_the_run_for_good()
    {
        var scene = new CoordinatorScene(change: spec => spec with { Numerics = NumericsPolicy.Warn }).Arrive("w1", "w2").Prove(("w1", "a"), ("w2", "b")).Form();

        Assert.Equal([false, true], scene.Events.OfType<WorkerJoined>().Select(joined => joined.NumericsDiffer));
        Assert.Contains("numerics: warn", Assert.Single(scene.Events.OfType<RunWarning>()).Message);
        Assert.True(scene.Effects.OfType<RecordDecision>().Select(record => record.Decision).OfType<GenerationDecided>().Single().NumericsDiffer);
    }

    [Fact]
    public void A_lost_worker_ends_the_run_naming_worker_step_and_checkpoint()
    {
        var scene = Running();
        scene.Say("w1", StepOf(1, 4));
        scene.Say("w1", CheckpointOf(1, 4));
        scene.Say("w1", StepOf(1, 5));

        scene.Happen(new WorkerLost("w2", "it closed its connection."));

        var failed = Assert.IsType<RunFailed>(scene.Outcome);
        Assert.Equal((5, "w2", "/output/checkpoint-4"), (failed.Step, failed.Worker, failed.Checkpoint));
        Assert.Contains("Worker w2 (host-w2, process 7) was lost after step 5", failed.Message);
        Assert.Contains("Resume from step 4", failed.Message);
        Assert.Contains(scene.ToldTo("w1"), message => message.Goodbye is not null);
    }

    [Fact]
    public void A_cause_that_arrives_after_its_echo_is_the_one_reported()
    {
        var scene = new CoordinatorScene(workers: 3).Arrive("w1", "w2", "w3").Prove(("w1", "a"), ("w2", "a"), ("w3", "a")).Form().Ready("w1", "w2", "w3");
        scene.Say("w1", FailedOf(1, "w3 is gone", peerLost: true));
        scene.Say("w2", FailedOf(1, "w3 is gone", peerLost: true));
        scene.Happen(new WorkerLost("w2", "it closed its connection."));
        Assert.Null(scene.Outcome);

        scene.Say("w3", FailedOf(1, "the loss is not finite", peerLost: false, ExitCode.Diverged));

        var failed = Assert.IsType<RunFailed>(scene.Outcome);
        Assert.Equal(("w3", ExitCode.Diverged), (failed.Worker, failed.ExitCode));
        Assert.Contains("the loss is not finite", failed.Message);
    }

    [Fact]
    public void An_echo_without_a_cause_counts_when_the_grace_is_over()
    {
        var scene = Running();
        scene.Say("w1", FailedOf(1, "w2 was silent for 120 s", peerLost: true));
        Assert.Contains(scene.Effects, effect => effect is SetTimer { Timer: RunTimer.CauseGrace });

        scene.Happen(new TimerFired(RunTimer.CauseGrace, TimeSpan.FromSeconds(3)));

        Assert.Contains("w2 was silent", Assert.IsType<RunFailed>(scene.Outcome).Message);
    }

    [Fact]
    public void Differing_weights_at_the_end_fail_the_run()
    {
        var scene = Running();
        scene.Say("w1", FinishedOf(1, 10, "one"));
        scene.Say("w2", FinishedOf(1, 10, "other"));

        Assert.Contains("diverged", Assert.IsType<RunFailed>(scene.Outcome).Message);
    }

    [Fact]
    public void A_stop_while_running_waits_for_every_worker_and_keeps_the_checkpoint()
    {
        var scene = Running();
        scene.Happen(new StopRequested("Ctrl-C"));
        Assert.All(["w1", "w2"], worker => Assert.True(scene.ToldTo(worker).Single(message => message.Stop is not null).Stop.Checkpoint));
        scene.Say("w1", StoppedOf(1, 6, "/output/checkpoint-6"));
        Assert.Null(scene.Outcome);
        scene.Say("w2", StoppedOf(1, 6, ""));

        Assert.Equal(new RunStopped(6, "/output/checkpoint-6", "Ctrl-C"), scene.Outcome);
    }

    [Fact]
    public void A_stop_before_the_first_step_ends_the_run_at_once()
    {
        var scene = new CoordinatorScene().Arrive("w1");
        scene.Happen(new StopRequested("Ctrl-C"));

        Assert.Equal(new RunStopped(0, null, "Ctrl-C"), scene.Outcome);
        Assert.Contains(scene.ToldTo("w1"), message => message.Goodbye is not null);
    }

    [Fact]
    public void A_worker_that_never_stops_fails_a_run_without_a_fresh_checkpoint()
    {
        var scene = Running();
        scene.Happen(new StopRequested("Ctrl-C"));
        scene.Say("w1", StoppedOf(1, 6, ""));
        scene.Happen(new TimerFired(RunTimer.Stop, TimeSpan.FromSeconds(120)));

        Assert.Contains("w2 (host-w2, process 7) did not stop within 120 s", Assert.IsType<RunFailed>(scene.Outcome).Message);
    }

    [Fact]
    public void A_stop_that_meets_the_last_step_finishes_the_run()
    {
        var scene = Running();
        scene.Say("w1", FinishedOf(1, 10, "weights"));
        scene.Happen(new StopRequested("Ctrl-C"));
        scene.Say("w2", FinishedOf(1, 10, "weights"));

        Assert.IsType<RunFinished>(scene.Outcome);
    }

    [Fact]
    public void Missing_workers_are_counted_and_those_present_are_named()
    {
        var scene = new CoordinatorScene(workers: 3).Arrive("w1");
        scene.Happen(new TimerFired(RunTimer.Arrival, TimeSpan.FromSeconds(60)));

        var message = Assert.IsType<RunFailed>(scene.Outcome).Message;
        Assert.Contains("Only 1 of 3 workers came within 60 s (here: w1)", message);
    }

    [Fact]
    public void A_worker_that_fails_before_it_proved_itself_ends_the_run_with_its_own_words()
    {
        var scene = new CoordinatorScene().Arrive("w1", "w2");
        scene.Say("w2", new FromWorker { Failed = new Failed { Message = "CUDA is not available.", ExitCode = ExitCode.Usage } });

        var failed = Assert.IsType<RunFailed>(scene.Outcome);
        Assert.Contains("CUDA is not available.", failed.Message);
        Assert.Equal(ExitCode.Usage, failed.ExitCode);
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
    [InlineData("another run", 1)]
    [InlineData(Run, 2)]
    [InlineData(Run, 0)]
    public void Messages_of_another_run_or_generation_do_nothing(string run, ulong generation)
    {
        var scene = Running();
        var before = scene.State;
        foreach (var message in new FromWorker[]
        {
            new() { Step = new StepReport { Run = run, Generation = generation, Step = 3 } },
            new() { Evaluation = new EvaluationReport { Run = run, Generation = generation, Step = 3 } },
            new() { Checkpoint = new CheckpointReport { Run = run, Generation = generation, Step = 3 } },
            new() { Finished = new Finished { Run = run, Generation = generation, Step = 3 } },
            new() { Stopped = new Stopped { Run = run, Generation = generation, Step = 3 } },
        })
        {
            Assert.Empty(scene.Say("w1", message));
        }
        Assert.Same(before, scene.State);
    }

    [Fact]
    public void After_a_restart_the_run_goes_on_with_a_higher_generation()
    {
        var before = Running();
        before.Say("w1", CheckpointOf(1, 4));
        var recovered = before.Effects.OfType<RecordDecision>().Aggregate(CoordinatorState.Empty, (state, record) => CoordinatorProtocol.Apply(state, record.Decision));
        Assert.Equal((RunPhase.Idle, 1, "/output/checkpoint-4"), (recovered.Phase, recovered.LastGeneration, recovered.Checkpoint?.Path));

        var (state, _) = CoordinatorProtocol.Decide(recovered, new RunSubmitted(before.State.Spec! with { Workers = 1, FirstStep = 4, ResumeFrom = "/output/checkpoint-4" }));
        (state, _) = CoordinatorProtocol.Decide(state, new WorkerArrived(HelloOf("w9")));
        (state, var effects) = CoordinatorProtocol.Decide(state, new WorkerSaid("w9", CanaryOf("w9", "a")));
        var draw = Assert.Single(effects.OfType<DrawSecret>());
        (state, _) = CoordinatorProtocol.Decide(state, new SecretDrawn(draw.Generation, ByteString.Empty));

        Assert.Equal((2, 4), (state.Generation!.Number, state.Generation.FirstStep));
    }

    [Fact]
    public void A_finished_run_is_not_computed_again()
    {
        var scene = Running();
        scene.Say("w1", FinishedOf(1, 10, "weights"));
        scene.Say("w2", FinishedOf(1, 10, "weights"));

        Assert.Empty(scene.Happen(new RunSubmitted(scene.State.Spec!)));
    }
}
