using System.Collections.Immutable;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;

namespace Sora.Protocol.Tests.Simulation;

/// <summary>The protocol broken on purpose, from outside: what goes in or comes out is changed, as a wrong rule would.</summary>
internal static class Mutations
{
    public static IReadOnlyDictionary<string, ProtocolRules> All { get; } = new Dictionary<string, ProtocolRules>
    {
        ["a generation begins with the lowest step held"] = new()
        {
            Coordinator = (state, happened) => CoordinatorProtocol.Decide(happened is SecretDrawn ? Holding(state, LowestHeld(state)) : state, happened),
        },
        ["halts are not awaited"] = new() { Coordinator = NotAwaitingHalts },
        ["a stale Halted is taken for one of now"] = new() { Coordinator = Hearing((state, said) => Restamp(state, said.Halted, now => now.Halted.Generation = (ulong)state.LastGeneration, said)) },
        ["a checkpoint is preferred to a live holder"] = new()
        {
            Coordinator = (state, happened) => CoordinatorProtocol.Decide(happened is SecretDrawn && state.Checkpoint is not null ? Holding(state, -1) : state, happened),
        },
        ["the canary is not looked at"] = new() { Coordinator = Hearing((state, said) => Restamp(state, said.Canary, now => now.Canary.Sha256 = "usual", said)) },
        ["a restart forgets the last generation"] = new() { Apply = (state, decision) => CoordinatorProtocol.Apply(state, decision) with { LastGeneration = 0 } },
        ["taking a run up is not journaled"] = new() { Coordinator = Without(effect => effect is RecordDecision { Decision: RunTakenUp }) },
        ["nobody is told goodbye at the end"] = new() { Coordinator = Without(effect => effect is TellWorker { Message.Goodbye: not null }) },
        ["whoever wants to leave is let go before the state is handed over"] = new() { Coordinator = LettingDrainingGo },
        ["everybody counts as a holder"] = new() { Downwards = Announcing(generation => generation.Holders.Add(Enumerable.Range(0, generation.Members.Count).Select(rank => (uint)rank).Except(generation.Holders).ToList())) },
        ["lanes overlap"] = new() { Downwards = Announcing(generation => generation.Members[0].LaneCount += generation.Members.Count > 1 ? 1u : 0u) },
        ["a lane is left out"] = new() { Downwards = Announcing(generation => generation.Members[^1].LaneCount -= generation.Members[^1].LaneCount > 1 ? 1u : 0u) },
        ["what is not finite is committed"] = new() { CommitsWhatIsNotFinite = true },
        ["a step that is not finite ends the run at once"] = new() { Coordinator = Doubting(doubt => doubt with { Evaluations = 9 }) },
        ["lanes that were not finite stay where they are"] = new()
        {
            Coordinator = (state, happened) => CoordinatorProtocol.Decide(happened is SecretDrawn ? state with { Doubt = null } : state, happened),
        },
        ["whoever told of a step that was not finite counts as broken"] = new()
        {
            Coordinator = (state, happened) => CoordinatorProtocol.Decide(
                state.Doubt is { } doubt && happened is WorkerSaid { Message.Step: not null } ? state with { Doubt = doubt with { Generation = state.LastGeneration } } : state, happened),
        },
        ["a device that failed is forgotten"] = new()
        {
            Coordinator = (state, happened) =>
            {
                var (next, effects) = CoordinatorProtocol.Decide(state, happened);
                return (next with { Barred = next.Barred.Clear() }, [.. effects.Where(effect => next.Barred.IsEmpty || effect is not TellWorker { Message.Goodbye: not null })]);
            },
        },
        ["half a state is taken up"] = new() { TakesHalfAState = true },
        ["what an older stream delivers counts"] = new() { MixesStreams = true },
        ["a worker says that it has halted before it has"] = new() { Worker = HaltingAtOnce },
        ["a worker forgets where it stood when it dials again"] = new()
        {
            Worker = (state, happened) => Sending(WorkerProtocol.Decide(state, happened), effect => effect is WorkerEffect.SendHello hello ? hello with { Standing = hello.Standing with { Step = -1, InGeneration = false } } : effect),
        },
        ["a worker counts a step too many"] = new()
        {
            Worker = (state, happened) => Sending(WorkerProtocol.Decide(state, happened), effect => effect is WorkerEffect.SendHalted halted ? halted with { Step = halted.Step + 1 } : effect),
        },
        ["a worker that has finished never halts"] = new()
        {
            Worker = (state, happened) => state.Phase == WorkerPhase.Finished && happened is WorkerEvent.HaltOrdered ? (state, []) : WorkerProtocol.Decide(state, happened),
        },
    };

    private static ProtocolRules.CoordinatorRule Doubting(Func<StepDoubt, StepDoubt> change) => (state, happened) =>
        CoordinatorProtocol.Decide(state.Doubt is { } doubt ? state with { Doubt = change(doubt) } : state, happened);

    private static long LowestHeld(CoordinatorState state) =>
        state.Workers.Values.Where(worker => worker is { Stage: WorkerStage.Waiting, HeldStep: >= 0 }).Select(worker => worker.HeldStep).DefaultIfEmpty(-1).Min();

    private static CoordinatorState Holding(CoordinatorState state, long step) =>
        state with { Workers = state.Workers.SetItems(state.Workers.Select(entry => KeyValuePair.Create(entry.Key, entry.Value with { HeldStep = Math.Min(step, entry.Value.HeldStep) }))) };

    private static (CoordinatorState, IReadOnlyList<CoordinatorEffect>) NotAwaitingHalts(CoordinatorState state, CoordinatorEvent happened)
    {
        var (next, effects) = CoordinatorProtocol.Decide(state, happened);
        if (next.Phase != RunPhase.Halting)
            return (next, effects);
        foreach (var worker in next.Workers.Values.Where(worker => worker.InGeneration))
        {
            var halted = new Halted { Run = next.Spec!.Run, Generation = (ulong)next.Generation!.Number, Step = worker.HeldStep };
            (next, var more) = CoordinatorProtocol.Decide(next, new WorkerSaid(worker.Id, new FromWorker { Halted = halted }));
            effects = [.. effects, .. more];
        }
        return (next, effects);
    }

    private static (CoordinatorState, IReadOnlyList<CoordinatorEffect>) LettingDrainingGo(CoordinatorState state, CoordinatorEvent happened)
    {
        var (next, effects) = CoordinatorProtocol.Decide(state, happened);
        if (happened is not WorkerSaid { Message.Draining: not null, Worker: var leaving } || !next.Workers.ContainsKey(leaving))
            return (next, effects);
        // The others are asked to go on without it, from wherever they stand.
        return (next with { Workers = next.Workers.Remove(leaving) }, [.. effects, new TellWorker(leaving, new FromCoordinator { Goodbye = new Goodbye() })]);
    }

    private static (WorkerProtocolState, IReadOnlyList<WorkerEffect>) HaltingAtOnce(WorkerProtocolState state, WorkerEvent happened)
    {
        var (next, effects) = WorkerProtocol.Decide(state, happened);
        return effects.OfType<WorkerEffect.HaltAfterStep>().Any() ? (next, [.. effects, new WorkerEffect.SendHalted(state.Run, state.Generation, state.Step, "", [])]) : (next, effects);
    }

    private static ProtocolRules.CoordinatorRule Hearing(Func<CoordinatorState, FromWorker, FromWorker> change) =>
        (state, happened) => CoordinatorProtocol.Decide(state, happened is WorkerSaid said ? said with { Message = change(state, said.Message) } : happened);

    private static FromWorker Restamp(CoordinatorState state, object? part, Action<FromWorker> change, FromWorker message)
    {
        if (part is null || state.Spec is null)
            return message;
        var changed = message.Clone();
        change(changed);
        return changed;
    }

    private static ProtocolRules.CoordinatorRule Without(Func<CoordinatorEffect, bool> left) => (state, happened) =>
    {
        var (next, effects) = CoordinatorProtocol.Decide(state, happened);
        return (next, [.. effects.Where(effect => !left(effect))]);
    };

    private static Func<FromCoordinator, FromCoordinator> Announcing(Action<Generation> change) => message =>
    {
        if (message.Generation is null)
            return message;
        var changed = message.Clone();
        change(changed.Generation);
        return changed;
    };

    private static (WorkerProtocolState, IReadOnlyList<WorkerEffect>) Sending((WorkerProtocolState State, IReadOnlyList<WorkerEffect> Effects) decided, Func<WorkerEffect, WorkerEffect> change) =>
        (decided.State, [.. decided.Effects.Select(change)]);
}
