using CsCheck;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;

namespace Sora.Protocol.Tests.Generations;

public class WorkerProtocolTests
{
    private const string Self = "worker-1";
    private const string Run = "run";
    private static readonly WorkerAssignment Work = new(Run, "{}", "hash", "", "", 5, "out");

    private static readonly WorkerEvent[] HappyPath =
    [
        new WorkerEvent.Connected(), new WorkerEvent.Assigned(Work), new WorkerEvent.Proved(Run, "c", 10), new WorkerEvent.GenerationFormed(Generation(Run, 3)),
        new WorkerEvent.Joined(3, 5), new WorkerEvent.Started(Run, 3), new WorkerEvent.StepCommitted(3, 6), new WorkerEvent.TrainingFinished(3, 6, "w"),
        new WorkerEvent.Dismissed("finished"),
    ];

    /// <summary>Anything that can happen, with right, wrong and outdated runs and generations.</summary>
    private static readonly Gen<WorkerEvent> AnyEvent = Gen.Select(Gen.OneOfConst(Run, "other"), Gen.Long[0, 5], Gen.Int[0, 14]).Select(WorkerEvent (run, generation, kind) => kind switch
    {
        0 => new WorkerEvent.Connected(),
        1 => new WorkerEvent.Assigned(Work with { Run = run }),
        2 => new WorkerEvent.Proved(run, "c", 10),
        3 => new WorkerEvent.GenerationFormed(Generation(run, generation)),
        4 => new WorkerEvent.Joined(generation, 5),
        5 => new WorkerEvent.Started(run, generation),
        6 => new WorkerEvent.StepCommitted(generation, 9),
        7 => new WorkerEvent.StopOrdered(run, "asked", true),
        8 => new WorkerEvent.StopSignalled("SIGTERM"),
        9 => new WorkerEvent.TrainingFinished(generation, 9, "w"),
        10 => new WorkerEvent.TrainingStopped(generation, 9, ""),
        11 => new WorkerEvent.WorkFailed(generation, "broken", "", ExitCode.Failure, false),
        12 => new WorkerEvent.Refused("numerics", ExitCode.Failure),
        13 => new WorkerEvent.Dismissed("over"),
        _ => new WorkerEvent.CoordinatorLost("reset"),
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
                new WorkerEffect.SendHello(), new WorkerEffect.Prove(Work), new WorkerEffect.SendCanary(Run, "c", 10),
                new WorkerEffect.SendReady(Run, 3, 5), new WorkerEffect.Train(3), new WorkerEffect.SendFinished(Run, 3, 6, "w"),
                new WorkerEffect.Abandon("its work is done"), new WorkerEffect.Exit(ExitCode.Ok, null),
            ],
            effects.Where(effect => effect is not WorkerEffect.Join));
        Assert.Equal(1, Assert.Single(effects.OfType<WorkerEffect.Join>()).Rank);
    }

    [Fact]
    public void It_never_trains_without_the_start_of_the_generation_it_is_in()
    {
        Histories.Sample(history =>
        {
            var state = new WorkerProtocolState(Self);
            foreach (var happened in history)
            {
                var (next, effects) = WorkerProtocol.Decide(state, happened);
                if (effects.OfType<WorkerEffect.Train>().FirstOrDefault() is { } train)
                {
                    Assert.Equal(WorkerPhase.Ready, state.Phase);
                    Assert.Equal(new WorkerEvent.Started(Run, state.Generation), happened);
                    Assert.Equal(state.Generation, train.Generation);
                }
                state = next;
            }
        });
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
    public void Every_result_is_reported_at_most_once()
    {
        Histories.Sample(history =>
        {
            var (_, effects) = Play(history);
            Assert.InRange(effects.Count(effect => effect is WorkerEffect.SendFinished or WorkerEffect.SendStopped or WorkerEffect.SendFailed), 0, 1);
        });
    }

    [Fact]
    public void A_lost_coordinator_ends_the_worker_wherever_it_stands()
    {
        for (var length = 0; length < HappyPath.Length - 2; length++)
        {
            var (state, effects) = Play([.. HappyPath.Take(length), new WorkerEvent.CoordinatorLost("connection reset")]);
            Assert.Equal(WorkerPhase.Ended, state.Phase);
            Assert.Equal(new WorkerEffect.Exit(ExitCode.Unreachable, "The coordinator is gone: connection reset"), effects[^1]);
        }
    }

    [Fact]
    public void A_stop_is_passed_on_once_and_ends_resumable()
    {
        var (_, effects) = Play([
            .. HappyPath.Take(6), new WorkerEvent.StopOrdered(Run, "Ctrl-C", true), new WorkerEvent.StopOrdered(Run, "Ctrl-C", true), new WorkerEvent.StopSignalled("SIGTERM"),
            new WorkerEvent.TrainingStopped(3, 7, "ckpt"), new WorkerEvent.Dismissed("stopped")]);
        Assert.Single(effects.OfType<WorkerEffect.RequestStop>());
        Assert.Contains(new WorkerEffect.SendStopped(Run, 3, 7, "ckpt"), effects);
        Assert.Equal(new WorkerEffect.Exit(ExitCode.Resumable, null), effects[^1]);
    }

    [Fact]
    public void A_stop_asked_of_another_worker_stops_this_one_as_well()
    {
        var (state, effects) = Play([.. HappyPath.Take(6), new WorkerEvent.TrainingStopped(3, 7, "")]);
        Assert.Equal(WorkerPhase.Leaving, state.Phase);
        Assert.Contains(new WorkerEffect.SendStopped(Run, 3, 7, ""), effects);
    }

    [Fact]
    public void A_broken_exchange_is_reported_as_an_echo()
    {
        var (state, effects) = Play([.. HappyPath.Take(7), new WorkerEvent.WorkFailed(3, "Step 6: worker-0 is gone", "trace", ExitCode.Failure, PeerLost: true)]);
        Assert.Equal(WorkerPhase.Ended, state.Phase);
        Assert.Contains(new WorkerEffect.SendFailed(Run, 3, 6, "Step 6: worker-0 is gone", "trace", ExitCode.Failure, true), effects);
        Assert.Equal(new WorkerEffect.Exit(ExitCode.Failure, "Step 6: worker-0 is gone"), effects[^1]);
    }

    [Fact]
    public void A_generation_without_this_worker_is_not_joined()
    {
        var generation = Generation(Run, 3) with { Members = [new ExchangeMember("worker-0", new LaneRange(0, 2), [])] };
        var (state, effects) = Play([.. HappyPath.Take(3), new WorkerEvent.GenerationFormed(generation)]);
        Assert.Equal(WorkerPhase.Waiting, state.Phase);
        Assert.Empty(effects.OfType<WorkerEffect.Join>());
    }

    private static bool IsStale(WorkerProtocolState state, WorkerEvent happened)
    {
        var (run, generation) = happened switch
        {
            WorkerEvent.Proved e => (e.Run, state.Generation),
            WorkerEvent.GenerationFormed e => (e.Generation.Run, e.Generation.Number <= state.Generation ? -1 : state.Generation),
            WorkerEvent.Joined e => (state.Run, e.Generation),
            WorkerEvent.Started e => (e.Run, e.Generation),
            WorkerEvent.StepCommitted e => (state.Run, e.Generation),
            WorkerEvent.StopOrdered e => (e.Run, state.Generation),
            WorkerEvent.TrainingFinished e => (state.Run, e.Generation),
            WorkerEvent.TrainingStopped e => (state.Run, e.Generation),
            WorkerEvent.WorkFailed e => (state.Run, e.Generation),
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
