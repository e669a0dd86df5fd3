using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;
using static Sora.Protocol.Tests.Generations.CoordinatorScene;

namespace Sora.Protocol.Tests.Generations;

/// <summary>From a submission to the first generation, and who is let in.</summary>
public sealed class CoordinatorStartTests
{
    [Fact]
    public void An_undisturbed_run_goes_through_every_phase_and_finishes()
    {
        var scene = new CoordinatorScene();
        Assert.Equal(RunPhase.Gathering, scene.State.Phase);
        scene.Arrive("w2", "w1").Prove(("w2", "a"), ("w1", "a"));
        Assert.Equal(RunPhase.Forming, scene.State.Phase);
        scene.Form();
        Assert.Equal(RunPhase.Joining, scene.State.Phase);
        scene.Ready("w1", "w2");
        Assert.Equal(RunPhase.Running, scene.State.Phase);
        scene.Say("w1", StepOf(1, 10, loss: 1.5));
        scene.Say("w1", CheckpointOf(10));
        scene.Say("w1", FinishedOf(1, 10, "weights"));
        Assert.Null(scene.Outcome);
        scene.Say("w2", FinishedOf(1, 10, "weights"));
        Assert.Equal(new RunFinished(10, 1.5, null, "weights", "/output"), scene.Outcome);
        Assert.All(["w1", "w2"], worker => Assert.Equal((uint)ExitCode.Ok, scene.ToldTo(worker).Last().Goodbye.ExitCode));
    }

    [Fact]
    public void Members_are_ranked_by_id_whoever_came_first_and_own_all_lanes()
    {
        var scene = new CoordinatorScene(workers: 3, lanes: 8).Arrive("w3", "w1", "w2").Prove(("w2", "a"), ("w3", "a"), ("w1", "a")).Form();

        var members = scene.ToldTo("w2").Single(message => message.Generation is not null).Generation.Members;

        Assert.Equal(["w1", "w2", "w3"], members.Select(member => member.Worker));
        Assert.Equal([(0u, 2u), (2u, 3u), (5u, 3u)], members.Select(member => (member.FirstLane, member.LaneCount)));
        Assert.Equal("tcp:w2:1", Assert.Single(members[1].Endpoints));
    }

    [Fact]
    public void The_first_generation_has_no_holders_and_begins_with_the_checkpoint_resumed_from()
    {
        var scene = Running(change: spec => spec with { FirstStep = 5, ResumeFrom = "/output/checkpoint-5" });

        Assert.Empty(scene.Announced.Holders);
        Assert.Equal((5ul, "/output/checkpoint-5"), (scene.Announced.FirstStep, scene.Announced.RestoreFrom));
    }

    [Fact]
    public void More_workers_than_lanes_wait_in_reserve()
    {
        var scene = new CoordinatorScene(workers: 4, lanes: 2, change: spec => spec with { StartWorkers = 2 }).Arrive("w1", "w2", "w3");

        Assert.Empty(scene.ToldTo("w3"));
        Assert.Equal("w3", Assert.Single(scene.State.Standby).Id);
    }

    [Fact]
    public void A_run_begins_with_fewer_workers_than_it_may_have_once_patience_is_over()
    {
        var scene = new CoordinatorScene(workers: 4, change: spec => spec with { StartWorkers = 2 }).Arrive("w1", "w2").Prove(("w1", "a"), ("w2", "a"));
        Assert.Equal(RunPhase.Gathering, scene.State.Phase);

        scene.TimeOut(RunTimer.Arrival);

        Assert.Equal(["w1", "w2"], scene.Form().Members);
    }

    [Fact]
    public void Strict_refuses_the_minority_and_names_hashes_fingerprints_and_the_way_out()
    {
        var scene = new CoordinatorScene(workers: 3).Arrive("w1", "w2", "w3").Prove(("w1", "odd"), ("w2", "even"), ("w3", "even"));

        var refused = Assert.Single(scene.ToldTo("w1"), message => message.Refused is not null).Refused.Reason;
        Assert.All(["odd", "even", "numerics of w1", "numerics of w2", "numerics: warn"], expected => Assert.Contains(expected, refused));
    }

    [Fact]
    public void A_stray_worker_with_other_numerics_is_refused_and_the_run_waits_for_a_better_one()
    {
        var scene = new CoordinatorScene().Arrive("w1", "w2").Prove(("w1", "a"), ("w2", "odd"));

        Assert.Contains(scene.ToldTo("w2"), message => message.Refused is not null);
        Assert.DoesNotContain(scene.ToldTo("w1"), message => message.Goodbye is not null || message.Refused is not null);
        Assert.Null(scene.Outcome);
        Assert.Equal(["w1", "w3"], scene.Join("w3").Form().Members);
    }

    [Fact]
    public void A_run_that_gets_nobody_in_the_place_of_a_refused_worker_says_why_and_ends()
    {
        var scene = new CoordinatorScene().Arrive("w1", "w2");
        scene.TimeOut(RunTimer.Arrival);
        scene.Prove(("w1", "a"), ("w2", "odd"));
        Assert.Contains(new SetTimer(RunTimer.Arrival), scene.Effects.SkipWhile(effect => effect is not Publish { Event: WorkerRefused }));

        scene.TimeOut(RunTimer.Arrival);

        var failed = Assert.IsType<RunFailed>(scene.Outcome);
        Assert.Equal("w2", failed.Worker);
        Assert.Contains("Only 1 of 2 workers came within 60 s (here: w1)", failed.Message);
        Assert.Contains(scene.Events.OfType<WorkerRefused>().Single().Reason, failed.Message);
    }

    [Fact]
    public void A_run_below_its_least_number_after_a_refusal_says_that_it_waits()
    {
        var scene = new CoordinatorScene(workers: 3, change: spec => spec with { StartWorkers = 2, MinWorkers = 2 }).Arrive("w1", "w2");
        scene.TimeOut(RunTimer.Arrival);
        scene.Prove(("w1", "a"), ("w2", "odd"));

        scene.TimeOut(RunTimer.Arrival);

        Assert.Equal(new RunWaiting(1, 2, 0), Assert.Single(scene.Events.OfType<RunWaiting>()));
        Assert.Equal(["w1", "w3"], scene.Join("w3").Form().Members);
    }

    [Fact]
    public void A_tie_of_canaries_is_decided_by_worker_id_not_by_arrival()
    {
        var early = new CoordinatorScene().Arrive("w1", "w2").Prove(("w1", "x"), ("w2", "y"));
        var late = new CoordinatorScene().Arrive("w2", "w1").Prove(("w2", "y"), ("w1", "x"));

        Assert.All([early, late], scene => Assert.Equal("w2", Assert.Single(scene.Events.OfType<WorkerRefused>()).Worker));
    }

    [Fact]
    public void A_standby_takes_the_place_of_a_refused_worker()
    {
        var scene = new CoordinatorScene().Arrive("w1", "w2", "w3").Prove(("w1", "a"), ("w2", "b")).Prove(("w3", "a")).Form();

        Assert.Null(scene.Outcome);
        Assert.Equal(["w1", "w3"], scene.Members);
        Assert.Equal(2, scene.Events.OfType<WorkerJoined>().Count());
    }

    [Fact]
    public void The_canary_of_the_checkpoint_outranks_the_workers()
    {
        var scene = new CoordinatorScene(change: spec => spec with { ExpectedCanary = "recorded", ResumeFrom = "/output/checkpoint-5", FirstStep = 5 })
            .Arrive("w1", "w2").Prove(("w1", "a"), ("w2", "a"));

        Assert.Equal(2, scene.Events.OfType<WorkerRefused>().Count());
        scene.TimeOut(RunTimer.Arrival);
        Assert.Contains("recorded in the checkpoint /output/checkpoint-5", Assert.IsType<RunFailed>(scene.Outcome).Message);
    }

    [Fact]
    public void Warn_admits_a_differing_worker_and_marks_the_run_for_good()
    {
        var scene = new CoordinatorScene(change: spec => spec with { Numerics = NumericsPolicy.Warn }).Arrive("w1", "w2").Prove(("w1", "a"), ("w2", "b")).Form();

        Assert.Equal([false, true], scene.Events.OfType<WorkerJoined>().Select(joined => joined.NumericsDiffer));
        Assert.Contains("numerics: warn", Assert.Single(scene.Events.OfType<RunWarning>()).Message);
        Assert.True(scene.Journal.OfType<GenerationDecided>().Single().NumericsDiffer);
        Assert.True(scene.Restart().State.NumericsDiffer);
    }

    [Fact]
    public void A_worker_with_another_canary_is_refused_while_the_run_goes_on()
    {
        var scene = Running(workers: 3, change: spec => spec with { StartWorkers = 2 }).Join("w3", "odd");

        Assert.Contains(scene.ToldTo("w3"), message => message.Refused is not null);
        Assert.Equal(RunPhase.Running, scene.State.Phase);
        Assert.DoesNotContain(scene.ToldTo("w1"), message => message.Halt is not null);
    }

    [Fact]
    public void Missing_workers_are_counted_and_those_present_are_named()
    {
        var scene = new CoordinatorScene(workers: 3).Arrive("w1");
        scene.TimeOut(RunTimer.Arrival);

        Assert.Contains("Only 1 of 3 workers came within 60 s (here: w1)", Assert.IsType<RunFailed>(scene.Outcome).Message);
    }

    [Fact]
    public void A_run_that_may_have_more_or_fewer_workers_waits_for_the_least_and_says_so_once()
    {
        var scene = new CoordinatorScene(workers: 4, change: spec => spec with { StartWorkers = 2, MinWorkers = 2 }).Join("w1");
        scene.TimeOut(RunTimer.Arrival);
        scene.TimeOut(RunTimer.Arrival);
        Assert.Equal(new RunWaiting(1, 2, 0), Assert.Single(scene.Events.OfType<RunWaiting>()));

        Assert.Equal(["w1", "w2"], scene.Join("w2").Form().Members);
    }

    [Fact]
    public void A_worker_lost_before_training_began_may_come_again()
    {
        var scene = new CoordinatorScene().Arrive("w1", "w2").Prove(("w1", "a"));
        scene.Lose("w2");
        scene.TimeOut(RunTimer.Absence);
        Assert.Contains(scene.Effects.SkipWhile(effect => effect is not Publish { Event: WorkerLeft }), effect => effect is SetTimer { Timer: RunTimer.Arrival });
        scene.Happen(new WorkerArrived(HelloOf("w2", incarnation: "second")));
        scene.Prove(("w2", "a"));

        Assert.Equal(["w1", "w2"], scene.Form().Members);
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
    public void A_stream_that_breaks_before_training_began_may_be_dialled_again()
    {
        var scene = new CoordinatorScene().Arrive("w1").Prove(("w1", "a"));
        scene.Lose("w1");
        Assert.Null(scene.Outcome);
        scene.Happen(new WorkerArrived(HelloOf("w1", StandingOf("w1", 0, -1, inGeneration: false))));

        Assert.Equal(["w1", "w2"], scene.Join("w2").Form().Members);
    }

    [Fact]
    public void A_worker_lost_while_the_first_generation_is_being_formed_is_not_waited_for_for_ever()
    {
        var scene = new CoordinatorScene(workers: 3, change: spec => spec with { StartWorkers = 2 }).Arrive("w1", "w2", "w3").Prove(("w1", "a"), ("w2", "a"), ("w3", "a"));
        Assert.Equal(RunPhase.Forming, scene.State.Phase);
        Assert.DoesNotContain(new CancelTimer(RunTimer.Arrival), scene.Effects);
        scene.Lose("w3");
        scene.Form().TimeOut(RunTimer.Absence);
        scene.TimeOut(RunTimer.Arrival);

        Assert.Equal(["w1", "w2"], scene.Form().Members);
    }

    [Fact]
    public void A_worker_that_does_not_come_back_before_training_began_ends_the_run_unless_another_comes_in_time()
    {
        var scene = new CoordinatorScene().Arrive("w1");
        scene.Lose("w1");
        scene.TimeOut(RunTimer.Absence);
        Assert.Contains("it did not come back", Assert.Single(scene.Events.OfType<WorkerLeft>()).Reason);
        Assert.Null(scene.Outcome);

        scene.TimeOut(RunTimer.Arrival);
        Assert.Contains("Only 0 of 2 workers came", Assert.IsType<RunFailed>(scene.Outcome).Message);
    }

    [Fact]
    public void A_worker_that_never_delivers_a_canary_is_named()
    {
        var scene = new CoordinatorScene().Arrive("w1", "w2").Prove(("w1", "a"));
        scene.TimeOut(RunTimer.Readiness);

        Assert.Contains("Worker w2 (host-w2, process 7) was too slow: it did not deliver a canary", Assert.IsType<RunFailed>(scene.Outcome).Message);
    }

    [Fact]
    public void A_worker_of_another_run_is_sent_away()
    {
        var scene = new CoordinatorScene();
        scene.Happen(new WorkerArrived(HelloOf("w1", new Standing { Run = "another run" })));

        Assert.Contains("another run is not computed here", Assert.Single(scene.ToldTo("w1")).Goodbye.Reason);
        Assert.Empty(scene.State.Workers);
    }
}
