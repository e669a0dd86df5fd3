using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;

namespace Sora.Protocol.Tests.Simulation;

/// <summary>What can happen to a run.</summary>
internal enum Fault
{
    KillWorker,
    KillWorkerForGood,
    KillEverybody,
    PauseWorker,
    JoinWorker,
    JoinOddWorker,
    DrainWorker,
    DrainTwice,
    FailWorker,
    BreakDevice,
    KillCoordinator,
    PauseCoordinator,
    IsolateOwner,
    BreakStream,
    CutWorkers,
    CutWorkerFromCoordinator,
    SlowLink,
    JumpClock,
    FillDisk,
    Stop,
}

/// <summary>Makes things happen at times of the seed's choosing, and mends everything when the time for faults is over.</summary>
internal sealed class Faults(Simulation world)
{
    private int _failures;
    private bool _deviceBroken;

    private Random Random => world.Random;

    public void Plan()
    {
        var schedule = world.Schedule;
        for (var fault = 0; fault < schedule.Faults; fault++)
        {
            var kind = schedule.Kinds[Random.Next(schedule.Kinds.Count)];
            world.After(Random.NextInt64(schedule.FaultsEnd), () => Happen(kind));
        }
        world.After(schedule.FaultsEnd, Mend);
    }

    public void Happen(Fault fault)
    {
        if (world.Cluster.Over)
            return;
        world.Note($"fault: {fault}");
        switch (fault)
        {
            case Fault.KillWorker: KillAndRestart(AnyWorker()); break;
            case Fault.KillWorkerForGood: AnyWorker()?.Kill("kill -9"); break;
            case Fault.KillEverybody: KillEverybody(); break;
            case Fault.PauseWorker: AnyWorker()?.Pause(Random.Next(100, 30_000)); break;
            case Fault.JoinWorker: world.StartWorker(); break;
            case Fault.JoinOddWorker when world.Cluster.Owner.State.Reference is not null: world.StartWorker(odd: true); break;
            case Fault.DrainWorker: AnyWorker()?.Post(new WorkerEvent.DrainSignalled("SIGTERM")); break;
            case Fault.DrainTwice: DrainTwice(AnyWorker()); break;
            case Fault.FailWorker: Fail(AnyWorker()); break;
            case Fault.BreakDevice: BreakDevice(AnyWorker()); break;
            case Fault.KillCoordinator: KillAndRestart(AnyCoordinator()); break;
            case Fault.PauseCoordinator: AnyCoordinator()?.Pause(Random.Next(100, 20_000)); break;
            case Fault.IsolateOwner: Isolate(); break;
            case Fault.BreakStream: AnyWorker()?.Stream?.Connection.Break("connection reset"); break;
            case Fault.CutWorkers: Cut(AnyWorker()?.Name, AnyWorker()?.Name); break;
            case Fault.CutWorkerFromCoordinator: Cut(AnyWorker()?.Name, AnyCoordinator()?.Name); break;
            case Fault.SlowLink: Slow(AnyWorker()?.Name, Random.Next(2) == 0 ? AnyWorker()?.Name : AnyCoordinator()?.Name); break;
            case Fault.JumpClock: AnyCoordinator()?.JumpClock(); break;
            case Fault.FillDisk: FillDisk(); break;
            case Fault.Stop: Stop(); break;
        }
    }

    public void KillAndRestart(SimulatedWorker? worker)
    {
        if (worker is null)
            return;
        worker.Kill("kill -9");
        world.After(Random.Next(100, 10_000), () => world.StartWorker(worker.Name, worker.Odd));
    }

    public void KillAndRestart(SimulatedCoordinator? coordinator)
    {
        if (coordinator is not { Alive: true })
            return;
        coordinator.Kill("kill -9");
        world.After(Random.Next(100, 15_000), () => Restart(coordinator));
    }

    private static void Restart(SimulatedCoordinator coordinator)
    {
        if (!coordinator.Alive)
            coordinator.Restart();
    }

    private void KillEverybody()
    {
        foreach (var worker in world.Workers.Where(worker => worker.Alive).ToList())
            KillAndRestart(worker);
        if (Random.Next(2) == 0)
        {
            foreach (var coordinator in world.Cluster.Coordinators)
                KillAndRestart(coordinator);
        }
    }

    private void DrainTwice(SimulatedWorker? worker)
    {
        worker?.Post(new WorkerEvent.DrainSignalled("SIGTERM"));
        world.After(Random.Next(2_000), () => worker?.Post(new WorkerEvent.DrainSignalled("SIGTERM")));
    }

    /// <summary>Three of them would rightly end the run.</summary>
    private void Fail(SimulatedWorker? worker)
    {
        if (_failures++ < 2 && worker is not null)
            worker.Post(new WorkerEvent.WorkFailed(worker.State.Generation, "a device error", "", ExitCode.Failure));
    }

    /// <summary>Two at the same time could rightly pass for a run that diverges.</summary>
    private void BreakDevice(SimulatedWorker? worker)
    {
        if (_deviceBroken || worker is null)
            return;
        _deviceBroken = true;
        DeviceFault[] faults = [DeviceFault.InOneLane, DeviceFault.AtTheCommit, DeviceFault.Lasting];
        worker.Trainer.Break(faults[Random.Next(faults.Length)]);
        world.Note($"the device of {worker} fails: {worker.Trainer.Fault}");
    }

    private void Isolate()
    {
        world.Cluster.OwnerIsolated = true;
        world.After(Random.Next(1_000, 20_000), () => world.Cluster.OwnerIsolated = false);
    }

    private void Cut(string? one, string? other)
    {
        if (one is null || other is null || one == other)
            return;
        var both = Random.Next(2) == 0;
        world.Network.Cut(one, other);
        if (both)
            world.Network.Cut(other, one);
        world.After(Random.Next(500, 30_000), () => Mend(one, other));
    }

    private void Slow(string? one, string? other)
    {
        if (one is null || other is null || one == other)
            return;
        world.Network.Slow(one, other, Random.Next(50, 3_000));
        world.After(Random.Next(500, 30_000), () => Mend(one, other));
    }

    private void Mend(string one, string other)
    {
        world.Network.Mend(one, other);
        world.Network.Mend(other, one);
    }

    private void FillDisk()
    {
        world.Storage.Full = true;
        world.After(Random.Next(500, 20_000), () => world.Storage.Full = false);
    }

    /// <summary>Lost if no coordinator is there to hear it; never forgotten by one that did.</summary>
    private void Stop()
    {
        world.StopAsked = true;
        if (world.Cluster.Owner is { Active: true, Paused: false } owner)
            owner.After(0, () => owner.Happen(new StopRequested("Ctrl-C")));
    }

    private void Mend()
    {
        world.Note("nothing breaks any more");
        world.Mended = true;
        world.Network.MendAll();
        (world.Storage.Full, world.Cluster.OwnerIsolated) = (false, false);
        foreach (var worker in world.Workers)
            worker.Wake();
        foreach (var coordinator in world.Cluster.Coordinators)
        {
            coordinator.Wake();
            Restart(coordinator);
        }
        KeepEnough();
    }

    /// <summary>Somebody looks after the machines: as long as the run goes on, there are as many workers as it needs.</summary>
    private void KeepEnough()
    {
        var spec = world.Schedule.Spec;
        var needed = Math.Max(1, world.Cluster.Journal.OfType<GenerationDecided>().Any() ? spec.MinWorkers : spec.StartWorkers);
        var alive = world.Workers.Count(worker => worker is { Alive: true, Odd: false, State.Draining: false });
        for (var missing = needed - alive; missing > 0 && !world.Cluster.Over; missing--)
            world.StartWorker();
        world.After(2_000, KeepEnough);
    }

    private SimulatedWorker? AnyWorker()
    {
        var alive = world.Workers.Where(worker => worker.Alive).ToList();
        return alive.Count == 0 ? null : alive[Random.Next(alive.Count)];
    }

    private SimulatedCoordinator? AnyCoordinator()
    {
        // Mostly the one it matters for.
        var owner = world.Cluster.Owner;
        return Random.Next(4) > 0 ? owner : world.Cluster.Coordinators[Random.Next(world.Cluster.Coordinators.Count)];
    }
}
