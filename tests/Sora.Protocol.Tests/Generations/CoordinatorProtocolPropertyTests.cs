using CsCheck;
using Google.Protobuf;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Runs;
using static Sora.Protocol.Tests.Generations.CoordinatorScene;

namespace Sora.Protocol.Tests.Generations;

/// <summary>Whatever anybody says in whatever order, some promises hold. Honest workers and real schedules are the simulator's business.</summary>
public sealed class CoordinatorProtocolPropertyTests
{
    private static readonly Gen<string> Names = Gen.OneOfConst("w1", "w2", "w3", "w4");

    private static readonly Gen<FromWorker> Messages = Gen.Select(Names, Gen.Long[0, 4], Gen.Long[0, 10], Gen.Int[0, 8]).Select((name, generation, step, kind) => kind switch
    {
        0 => CanaryOf(name, step > 9 ? "odd" : "a"),
        1 => ReadyOf(generation, step),
        2 => StepOf(generation, step),
        3 => CheckpointOf(step, error: step > 9 ? "disk full" : ""),
        4 or 5 => HaltedOf(generation, step - 1, step > 7 ? "broken" : "", step > 8 ? [name] : []),
        6 => FinishedOf(generation, 10, "weights"),
        7 => FailedOf("broken", generation: generation),
        _ => WantsToLeave,
    });

    private static readonly Gen<CoordinatorEvent> Events =
        Gen.Select(Names, Messages, Gen.Long[0, 4], Gen.Int[0, 99]).Select(CoordinatorEvent (name, message, number, kind) => kind switch
        {
            < 60 => new WorkerSaid(name, message),
            < 70 => new WorkerArrived(HelloOf(name)),
            < 80 => new WorkerArrived(HelloOf(name, StandingOf(name, number, kind - 72, inGeneration: kind % 2 == 0))),
            < 86 => new WorkerLost(name, "gone"),
            < 92 => new SecretDrawn(number, ByteString.Empty),
            < 99 => new TimerFired((RunTimer)(number + (kind % 4)), TimeSpan.FromSeconds(1)),
            _ => new StopRequested("Ctrl-C"),
        });

    [Fact]
    public void Whatever_happens_the_promises_hold() => Gen.Select(Events.Array[0, 120], Gen.Bool).Sample((events, running) =>
    {
        var scene = running ? Running(workers: 3) : new CoordinatorScene(workers: 3);
        foreach (var happened in events)
        {
            var ended = scene.State.Phase == RunPhase.Ended;
            var effects = scene.Happen(happened);
            if (ended)
                Assert.DoesNotContain(effects, effect => effect is not TellWorker);
        }
        Assert.InRange(scene.Events.Count(happened => happened is RunFinished or RunStopped or RunFailed), 0, 1);
        AssertGenerations(scene);
        AssertOnceAndInOrder(scene.Events.OfType<StepCommitted>().Select(step => step.Step));
        AssertOnceAndInOrder(scene.Events.OfType<CheckpointSaved>().Select(saved => saved.Step));
        AssertJournal(scene);
    });

    private static void AssertGenerations(CoordinatorScene scene)
    {
        var plans = scene.Journal.OfType<GenerationDecided>().Select(decided => decided.Plan).ToList();
        Assert.Equal(Enumerable.Range(1, plans.Count).Select(number => (long)number), plans.Select(plan => plan.Number));
        foreach (var plan in plans)
        {
            Assert.Equal(Enumerable.Range(0, 4), plan.Members.SelectMany(member => Enumerable.Range(member.Lanes.First, member.Lanes.Count)));
            Assert.Equal(plan.Members.Select(member => member.Worker).Distinct().Order(StringComparer.Ordinal), plan.Members.Select(member => member.Worker));
        }
    }

    private static void AssertOnceAndInOrder(IEnumerable<long> steps)
    {
        var list = steps.ToList();
        Assert.Equal(list.Distinct().Order(), list);
    }

    private static void AssertJournal(CoordinatorScene scene)
    {
        var recovered = scene.Journal.Aggregate(CoordinatorState.Empty, CoordinatorProtocol.Apply);
        Assert.Equal((scene.State.LastGeneration, scene.State.Outcome, scene.State.Checkpoint), (recovered.LastGeneration, recovered.Outcome, recovered.Checkpoint));
        Assert.Equal(scene.State.Phase == RunPhase.Ended, recovered.Phase == RunPhase.Ended);
    }
}
