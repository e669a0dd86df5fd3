using CsCheck;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;

namespace Sora.Protocol.Tests.Generations;

public class WorkerProtocolTests
{
    private const string Self = "worker-1";
    private const string Run = "run";
    private static readonly WorkerAssignment Work = new(Run, "{}", "hash", "", "out");

    private static readonly WorkerEvent[] HappyPath =
    [
        new WorkerEvent.Connected(), new WorkerEvent.Assigned(Work), new WorkerEvent.Proved(Run, "c", 10), new WorkerEvent.GenerationFormed(Generation(Run, 3)),
        new WorkerEvent.Joined(3, 5), new WorkerEvent.StepCommitted(3, 6), new WorkerEvent.TrainingFinished(3, 6, "w"), new WorkerEvent.Dismissed("finished", ExitCode.Ok),
    ];

    /// <summary>Anything that can happen, with right, wrong and outdated runs and generations.</summary>
    private static readonly Gen<WorkerEvent> AnyEvent = Gen.Select(Gen.OneOfConst(Run, "other"), Gen.Long[0, 5], Gen.Int[0, 16]).Select(WorkerEvent (run, generation, kind) => kind switch
    {
        0 => new WorkerEvent.Connected(),
        1 => new WorkerEvent.Disconnected("reset"),
        2 => new WorkerEvent.Assigned(Work with { Run = run }),
        3 => new WorkerEvent.Proved(run, "c", 10),
        4 => new WorkerEvent.GenerationFormed(Generation(run, generation)),
        5 => new WorkerEvent.Joined(generation, 5),
        6 => new WorkerEvent.StepCommitted(generation, 9),
        7 => new WorkerEvent.HaltOrdered(run, generation, true, "asked"),
        8 => new WorkerEvent.HaltOrdered(run, generation, false, "asked"),
        9 => new WorkerEvent.WorkHalted(generation, 9, "", []),
        10 => new WorkerEvent.SaveOrdered(run, 9),
        11 => new WorkerEvent.DrainSignalled("SIGTERM"),
        12 => new WorkerEvent.TrainingFinished(generation, 9, "w"),
        13 => new WorkerEvent.WorkFailed(generation, "broken", "", ExitCode.Failure),
        14 => new WorkerEvent.Refused("numerics", ExitCode.Failure),
        15 => new WorkerEvent.Dismissed("over", ExitCode.Ok),
        _ => new WorkerEvent.CoordinatorGone("reset"),
    });

    /// <summary>Long stretches of the happy path with anything in between.</summary>
    private static readonly Gen<WorkerEvent[]> Histories =
        Gen.Select(AnyEvent, Gen.Int[0, 9]).Array[0, 40].Select(noise =>
        {
            var path = new Queue<WorkerEvent>(HappyPath);
            return noise.SelectMany(pair => pair.Item2 < 6 && path.TryDequeue(out var next) ? [next] : new[] { pair.Item1 }).ToArray();
        });

    [Fact]
    public void An_undisturbed_run_goes_from_hello_to_goodbye()
    {
        var (state, effects) = Play(HappyPath);
        Assert.Equal(WorkerPhase.Ended, state.Phase);
        Assert.Equal(
            [
                new WorkerEffect.SendHello(new WorkerStanding("", 0, -1, "", 0, false, false)), new WorkerEffect.Prove(Work), new WorkerEffect.SendCanary(Run, "c", 10),
                new WorkerEffect.SendReady(Run, 3, 5), new WorkerEffect.Train(3), new WorkerEffect.SendFinished(Run, 3, 6, "w"),
                new WorkerEffect.Abandon("its work is done"), new WorkerEffect.Exit(ExitCode.Ok, null),
            ],
            effects.Where(effect => effect is not WorkerEffect.Join));
        Assert.Equal(1, Assert.Single(effects.OfType<WorkerEffect.Join>()).Rank);
    }

    [Fact]
    public void It_ends_exactly_once_and_nothing_comes_after()
    {
        Histories.Sample(history =>
        {
            var (state, effects) = Play(history);
            Assert.Equal(state.Phase == WorkerPhase.Ended ? 1 : 0, effects.OfType<WorkerEffect.Exit>().Count());
            if (state.Phase == WorkerPhase.Ended)
                Assert.IsType<WorkerEffect.Exit>(effects[^1]);
        });
    }

    [Fact]
    public void It_takes_part_in_ever_later_generations()
    {
        Histories.Sample(history =>
        {
            var numbers = Play(history).Effects.OfType<WorkerEffect.Join>().Select(join => join.Generation.Number).ToList();
            Assert.Equal(numbers.Distinct().Order(), numbers);
        });
    }

    [Fact]
    public void What_belongs_to_another_run_or_generation_changes_nothing()
    {
        Gen.Select(Histories, AnyEvent).Sample((history, happened) =>
        {
            var (state, _) = Play(history);
            if (!IsStale(state, happened))
                return;
            var (next, effects) = WorkerProtocol.Decide(state, happened);
            Assert.Equal(state, next);
            Assert.Empty(effects);
        }, iter: 2000);
    }

    [Fact]
    public void A_lost_coordinator_does_not_stop_the_training()
    {
        var (state, effects) = Play([.. HappyPath.Take(5), new WorkerEvent.Disconnected("reset"), new WorkerEvent.StepCommitted(3, 6)]);
        Assert.Equal((WorkerPhase.Training, 6, false), (state.Phase, state.Step, state.Linked));
        Assert.DoesNotContain(effects, effect => effect is WorkerEffect.Exit or WorkerEffect.BreakOff);
    }

    [Fact]
    public void On_every_new_stream_it_says_where_it_stands_and_what_may_have_been_lost()
    {
        WorkerEvent[] redial = [new WorkerEvent.Disconnected("reset"), new WorkerEvent.Connected()];
        Assert.Equal(new WorkerEffect.SendCanary(Run, "c", 10), Play([.. HappyPath.Take(3), .. redial]).Effects[^1]);
        Assert.Equal([Hello(3, -1, true)], Play([.. HappyPath.Take(4), .. redial]).Effects.TakeLast(1));
        Assert.Equal([Hello(3, 6, true), new WorkerEffect.SendReady(Run, 3, 6)], Play([.. HappyPath.Take(6), .. redial]).Effects.TakeLast(2));
        Assert.Equal([Hello(3, 6, true), new WorkerEffect.SendFinished(Run, 3, 6, "w")], Play([.. HappyPath.Take(7), .. redial]).Effects.TakeLast(2));

        var halted = Play([.. HappyPath.Take(6), new WorkerEvent.Disconnected("reset"), Broken(6), new WorkerEvent.Connected()]).Effects;
        Assert.Equal(Hello(3, 6, false), halted[^2]);
        Assert.Equal((3, 6), halted[^1] is WorkerEffect.SendHalted sent ? (sent.Generation, sent.Step) : default);
    }

    [Fact]
    public void A_coordinator_that_is_gone_for_good_ends_it()
    {
        for (var length = 0; length < HappyPath.Length - 1; length++)
        {
            var (_, effects) = Play([.. HappyPath.Take(length), new WorkerEvent.CoordinatorGone("nobody answered for 600 s")]);
            Assert.Equal(new WorkerEffect.Exit(ExitCode.Unreachable, "The coordinator is gone: nobody answered for 600 s"), effects[^1]);
        }
    }

    [Fact]
    public void A_broken_exchange_is_a_halt_with_the_reason_and_the_suspects()
    {
        var (state, effects) = Play([.. HappyPath.Take(6), Broken(6)]);
        Assert.Equal(WorkerPhase.Waiting, state.Phase);
        var halted = Assert.IsType<WorkerEffect.SendHalted>(effects[^1]);
        Assert.Equal((3, 6, "worker-0 is gone", "worker-0"), (halted.Generation, halted.Step, halted.Reason, Assert.Single(halted.Suspects)));
    }

    [Fact]
    public void Orders_to_halt_reach_the_exchange()
    {
        Assert.Equal(new WorkerEffect.HaltAfterStep(3), Play([.. HappyPath.Take(6), new WorkerEvent.HaltOrdered(Run, 3, true, "a worker joins")]).Effects[^1]);
        Assert.Equal(new WorkerEffect.BreakOff(3, "w2 left"), Play([.. HappyPath.Take(6), new WorkerEvent.HaltOrdered(Run, 3, false, "w2 left")]).Effects[^1]);
        Assert.Equal(new WorkerEffect.BreakOff(3, "w2 left"), Play([.. HappyPath.Take(4), new WorkerEvent.HaltOrdered(Run, 3, false, "w2 left")]).Effects[^1]);
    }

    [Fact]
    public void Whoever_has_halted_already_says_so_again()
    {
        var (_, effects) = Play([.. HappyPath.Take(6), Broken(6), new WorkerEvent.HaltOrdered(Run, 3, false, "again")]);
        Assert.Equal((3, 6, ""), effects[^1] is WorkerEffect.SendHalted halted ? (halted.Generation, halted.Step, halted.Reason) : default);
    }

    [Fact]
    public void A_finished_worker_can_be_brought_back_to_a_boundary()
    {
        var (state, effects) = Play([.. HappyPath.Take(7), new WorkerEvent.HaltOrdered(Run, 3, false, "the last checkpoint is missing")]);
        Assert.Equal(WorkerPhase.Waiting, state.Phase);
        Assert.Equal((3, 6), effects[^1] is WorkerEffect.SendHalted halted ? (halted.Generation, halted.Step) : default);
    }

    [Fact]
    public void A_join_that_fails_leaves_the_state_held_before()
    {
        var (state, _) = Play([.. HappyPath.Take(6), Broken(6), new WorkerEvent.GenerationFormed(Generation(Run, 4)), new WorkerEvent.WorkHalted(4, 6, "the sender is gone", [])]);
        Assert.Equal((WorkerPhase.Waiting, 6, 4), (state.Phase, state.Step, state.Generation));
    }

    [Fact]
    public void It_saves_what_it_holds_and_nothing_else()
    {
        WorkerEvent[] halted = [.. HappyPath.Take(6), Broken(6)];
        Assert.Equal(new WorkerEffect.Save(6), Play([.. halted, new WorkerEvent.SaveOrdered(Run, 6)]).Effects[^1]);
        Assert.DoesNotContain(Play([.. halted, new WorkerEvent.SaveOrdered(Run, 5)]).Effects, effect => effect is WorkerEffect.Save);
    }

    [Fact]
    public void A_signal_asks_to_leave_and_a_second_one_leaves()
    {
        var (state, effects) = Play([.. HappyPath.Take(6), new WorkerEvent.DrainSignalled("SIGTERM")]);
        Assert.Equal(WorkerPhase.Training, state.Phase);
        Assert.Equal(new WorkerEffect.SendDraining("SIGTERM"), effects[^1]);

        var (ended, last) = WorkerProtocol.Decide(state, new WorkerEvent.DrainSignalled("SIGTERM"));
        Assert.Equal(WorkerPhase.Ended, ended.Phase);
        Assert.Equal(ExitCode.Ok, Assert.IsType<WorkerEffect.Exit>(last[^1]).Code);
    }

    [Fact]
    public void A_signal_ends_a_worker_that_nobody_could_miss()
    {
        for (var length = 0; length <= 3; length++)
            Assert.Equal(WorkerPhase.Ended, Play([.. HappyPath.Take(length), new WorkerEvent.DrainSignalled("SIGTERM")]).State.Phase);
    }

    [Fact]
    public void Without_a_coordinator_a_signal_halts_everybody_after_the_step_and_then_ends_this_worker()
    {
        WorkerEvent[] alone = [.. HappyPath.Take(6), new WorkerEvent.Disconnected("reset"), new WorkerEvent.DrainSignalled("SIGTERM")];
        Assert.Equal(new WorkerEffect.HaltAfterStep(3), Play(alone).Effects[^1]);
        Assert.Equal(WorkerPhase.Ended, Play([.. alone, new WorkerEvent.WorkHalted(3, 7, "", [])]).State.Phase);
    }

    [Fact]
    public void A_failure_is_reported_before_the_end()
    {
        var (_, effects) = Play([.. HappyPath.Take(6), new WorkerEvent.WorkFailed(3, "CUDA error", "trace", ExitCode.Failure)]);
        Assert.Contains(new WorkerEffect.SendFailed(Run, 3, 6, "CUDA error", "trace", ExitCode.Failure), effects);
        Assert.Equal(new WorkerEffect.Exit(ExitCode.Failure, "CUDA error"), effects[^1]);
    }

    [Fact]
    public void A_generation_without_this_worker_is_not_joined()
    {
        var generation = Generation(Run, 3) with { Members = [new ExchangeMember("worker-0", new LaneRange(0, 2), [])] };
        var (state, effects) = Play([.. HappyPath.Take(3), new WorkerEvent.GenerationFormed(generation)]);
        Assert.Equal(WorkerPhase.Waiting, state.Phase);
        Assert.Empty(effects.OfType<WorkerEffect.Join>());
    }

    private static WorkerEffect.SendHello Hello(long generation, long step, bool inGeneration) => new(new WorkerStanding(Run, generation, step, "c", 10, inGeneration, false));

    private static WorkerEvent.WorkHalted Broken(long step) => new(3, step, "worker-0 is gone", ["worker-0"]);

    private static bool IsStale(WorkerProtocolState state, WorkerEvent happened)
    {
        var (run, generation) = happened switch
        {
            WorkerEvent.Proved e => (e.Run, state.Generation),
            WorkerEvent.GenerationFormed e => (e.Generation.Run, e.Generation.Number <= state.Generation ? -1 : state.Generation),
            WorkerEvent.Joined e => (state.Run, e.Generation),
            WorkerEvent.StepCommitted e => (state.Run, e.Generation),
            WorkerEvent.HaltOrdered e => (e.Run, state.Generation),
            WorkerEvent.SaveOrdered e => (e.Run, state.Generation),
            WorkerEvent.TrainingFinished e => (state.Run, e.Generation),
            WorkerEvent.WorkHalted e => (state.Run, e.Generation),
            WorkerEvent.WorkFailed e => (state.Run, e.Generation == 0 ? state.Generation : e.Generation),
            _ => (state.Run, state.Generation),
        };
        return run != state.Run || generation != state.Generation;
    }

    private static (WorkerProtocolState State, IReadOnlyList<WorkerEffect> Effects) Play(IEnumerable<WorkerEvent> history)
    {
        var state = new WorkerProtocolState(Self);
        var all = new List<WorkerEffect>();
        foreach (var happened in history)
        {
            (state, var effects) = WorkerProtocol.Decide(state, happened);
            all.AddRange(effects);
        }
        return (state, all);
    }

    private static WorkerGeneration Generation(string run, long number) => new(
        run, number, [new ExchangeMember("worker-0", new LaneRange(0, 2), ["unix:/a"]), new ExchangeMember(Self, new LaneRange(2, 2), ["unix:/b"])], 5, new byte[32]);
}
