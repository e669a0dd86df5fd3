using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Tests.Simulation;

/// <summary>A promise of the protocol was broken.</summary>
internal sealed class BrokenPromise(string promise) : Exception(promise);

/// <summary>What must be so after every event. It looks at the processes themselves, not at what they believe of each other.</summary>
internal sealed class Invariants(Simulation world)
{
    private readonly ulong[] _weights = StandInTrainer.Undisturbed(world.Schedule.Seed, world.Schedule.Spec.Lanes, world.Schedule.Spec.MaxSteps);
    private readonly SortedSet<long> _told = [];
    private readonly Dictionary<int, long> _lastTold = [];
    private readonly HashSet<WorkerProcess> _barred = [];
    private GenerationPlan? _lastPlan;
    private long _lastGeneration;

    public RunEvent? Outcome { get; private set; }

    /// <summary>Steps people know of, from any coordinator.</summary>
    public IReadOnlyCollection<long> Told => _told;

    public void Exchanged(SimulatedWorker worker, WorkerGeneration generation, IReadOnlyList<Contribution> all)
    {
        if (all.Any(other => other.Step != all[0].Step || other.What != all[0].What))
            throw new BrokenPromise($"{worker} exchanged generation {generation.Number} with members that are elsewhere: {string.Join(", ", all.Select(other => $"{other.What} {other.Step}"))}");
        if (all[0].What == "step" && !all.SelectMany(other => other.Gradients).Select(gradient => gradient.Lane).Order().SequenceEqual(Enumerable.Range(0, world.Schedule.Spec.Lanes)))
            throw new BrokenPromise($"the lanes of generation {generation.Number} are not the job's");
    }

    public void Committed(SimulatedWorker worker, WorkerGeneration generation)
    {
        var step = worker.Trainer.Step;
        if (worker.Trainer.Weights != _weights[step])
            throw new BrokenPromise($"{worker} committed step {step} in generation {generation.Number} with other weights than the undisturbed run");
        if (step <= generation.FirstStep)
            throw new BrokenPromise($"{worker} committed step {step} in generation {generation.Number}, which began with {generation.FirstStep}");
        foreach (var other in world.Workers.Where(other => other.Alive && other.Mesh?.Generation.Number == generation.Number))
        {
            if (Math.Abs(other.Trainer.Step - step) > 1)
                throw new BrokenPromise($"in generation {generation.Number} {worker} has committed step {step} and {other} step {other.Trainer.Step}");
        }
    }

    public void Saved(long step, ulong weights)
    {
        if (weights != _weights[step])
            throw new BrokenPromise($"the checkpoint of step {step} holds other weights than the undisturbed run");
    }

    public void WorkerMoved(SimulatedWorker worker, WorkerProtocolState before)
    {
        var after = worker.State;
        if (after.Generation < before.Generation)
            throw new BrokenPromise($"{worker} went back from generation {before.Generation} to {after.Generation}");
        if (after.Generation > before.Generation && after.Generation > _lastGeneration)
            throw new BrokenPromise($"{worker} joins generation {after.Generation}, which is in no journal");
        if (after.Phase == WorkerPhase.Waiting && after.Step != worker.Trainer.Step)
            throw new BrokenPromise($"{worker} says that it holds step {after.Step}, and holds {worker.Trainer.Step}");
    }

    public void Journaled(SimulatedCoordinator writer, RunDecision decision)
    {
        if (world.Cluster.Over)
            throw new BrokenPromise($"the run is over and {writer} decides {decision}");
        if (decision is RunEnded ended)
            End(ended.Outcome);
        if (decision is WorkerBarred barred)
            Barred(barred.Process);
        if (decision is not GenerationDecided { Plan: var plan })
            return;
        if (plan.Number <= _lastGeneration)
            throw new BrokenPromise($"generation {plan.Number} was decided after generation {_lastGeneration}");
        (_lastGeneration, _lastPlan) = (plan.Number, plan);
        if (writer.State.Workers.Values.FirstOrDefault(worker => _barred.Contains(worker.Process) && plan.Members.Any(member => member.Worker == worker.Id)) is { } back)
            throw new BrokenPromise($"{back} was put out for its device and is a member of generation {plan.Number}");
        if (!plan.Members.SelectMany(member => Enumerable.Range(member.Lanes.First, member.Lanes.Count)).SequenceEqual(Enumerable.Range(0, world.Schedule.Spec.Lanes)))
            throw new BrokenPromise($"the lanes of generation {plan.Number} are not the job's: {string.Join(", ", plan.Members.Select(member => member.Lanes))}");
        foreach (var worker in writer.Linked.Where(worker => worker.Alive && Counts(writer, worker)))
        {
            if (worker.State.Phase != WorkerPhase.Waiting && plan.Members.Any(member => member.Worker == worker.Name))
                throw new BrokenPromise($"generation {plan.Number} was decided while its member {worker} was {worker.State.Phase} in generation {worker.State.Generation}");
            if (worker.State.Phase == WorkerPhase.Waiting && plan.FirstStep < worker.Trainer.Step && !worker.Trainer.HasFailed)
                throw new BrokenPromise($"generation {plan.Number} begins with step {plan.FirstStep}, and {worker}, halted and linked, holds {worker.Trainer.Step}");
            if (worker.Odd && plan.Members.Any(member => member.Worker == worker.Name))
                throw new BrokenPromise($"{worker} computes other numbers and is a member of generation {plan.Number}");
        }
    }

    /// <summary>Whoever holds the first step's state in memory is named as a holder, and nobody else.</summary>
    public void Announced(SimulatedCoordinator announcer, Generation generation)
    {
        var linked = announcer.Linked.Where(worker => worker.Alive && Counts(announcer, worker)).ToDictionary(worker => worker.Name);
        for (var rank = 0; rank < generation.Members.Count; rank++)
        {
            if (linked.TryGetValue(generation.Members[rank].Worker, out var worker) && worker.State.Phase == WorkerPhase.Waiting && !worker.Trainer.HasFailed
                && generation.Holders.Contains((uint)rank) != (worker.Trainer.Step == (long)generation.FirstStep))
                throw new BrokenPromise($"generation {generation.Generation_} begins with step {generation.FirstStep}, {worker} holds {worker.Trainer.Step}, and the holders are {generation.Holders}");
        }
    }

    /// <summary>Whoever leaves because it was asked to leaves its state behind: with another worker, or in a checkpoint.</summary>
    public void Dismissed(SimulatedWorker leaving)
    {
        var (state, kinds) = (leaving.State, world.Schedule.Kinds);
        // What a broken device holds is not worth handing over.
        if (world.Cluster.Over || !state.Draining || state.Step <= 0 || leaving.Trainer.HasFailed || kinds.Contains(Fault.FillDisk) || kinds.Contains(Fault.JumpClock))
            return;
        // The other one may have died a moment ago.
        var handedOver = world.Workers.Any(other => other != leaving && other.Trainer.Step >= state.Step) || world.Storage.Newest >= state.Step;
        if (!handedOver)
            throw new BrokenPromise($"{leaving} was let go, and nobody else holds step {state.Step}");
    }

    public void Published(SimulatedCoordinator coordinator, RunEvent happened)
    {
        if (happened is not StepCommitted { Step: var step })
            return;
        if (_lastTold.TryGetValue(coordinator.Life, out var last) && step <= last)
            throw new BrokenPromise($"{coordinator} told step {step} after step {last}");
        _lastTold[coordinator.Life] = step;
        _told.Add(step);
    }

    private bool CouldBeTold(long step) => world.Workers.Any(worker => worker.Alive && worker.CouldTell(step));

    private static bool Counts(SimulatedCoordinator coordinator, SimulatedWorker worker) =>
        coordinator.State.Workers.TryGetValue(worker.Name, out var known) && known.Incarnation == worker.Incarnation;

    private void Barred(WorkerProcess process)
    {
        _barred.Add(process);
        if (!world.Workers.Any(worker => worker.Incarnation == process.Incarnation && worker.Trainer.HasFailed))
            throw new BrokenPromise($"{process} is put out for its device, which is well");
    }

    /// <summary>Nobody can tell then.</summary>
    private bool OnlyBrokenDevicesCompute() =>
        _lastPlan!.Members.All(member => world.WorkerNamed(member.Worker)?.Trainer.Fault == DeviceFault.Lasting);

    private void End(RunEvent outcome)
    {
        Outcome = outcome;
        var last = world.Schedule.Spec.MaxSteps;
        switch (outcome)
        {
            case RunFinished finished when finished.Step != last || finished.WeightsSha256 != $"{_weights[last]:x16}":
                throw new BrokenPromise($"the run finished with other weights than the undisturbed run, or elsewhere: {finished}");
            case RunFinished when world.Storage.Read(Storage.PathOf(last)) is null:
                throw new BrokenPromise("the run finished without its last checkpoint");
            case RunFinished when Enumerable.Range(1, (int)last).FirstOrDefault(step => !_told.Contains(step) && CouldBeTold(step)) is var step and > 0:
                throw new BrokenPromise($"people were never told of step {step}, and the member that reports remembers it");
            case RunStopped when !world.StopAsked:
                throw new BrokenPromise("the run stopped and nobody asked it to");
            case RunFailed { ExitCode: ExitCode.Diverged } when OnlyBrokenDevicesCompute():
                break;
            case RunFailed when _lastGeneration > 0:
                throw new BrokenPromise($"the run failed: {outcome}");
        }
    }
}
