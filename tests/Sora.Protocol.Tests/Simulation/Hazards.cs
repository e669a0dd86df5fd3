namespace Sora.Protocol.Tests.Simulation;

/// <summary>
/// Faults that strike at moments which random times would rarely hit: in the middle of a transfer, right after a commit, between a
/// decision's way into the journal and its way to the workers.
/// </summary>
internal sealed class Hazards(Simulation world)
{
    private bool Strikes => !world.Mended && world.Schedule.HazardRate > 0 && world.Random.NextDouble() < world.Schedule.HazardRate;

    public void Strike(string moment, SimulatedWorker worker)
    {
        if (!Strikes)
            return;
        var kind = world.Random.Next(6);
        world.After(0, () =>
        {
            if (!worker.Alive)
                return;
            world.Note($"hazard at {moment} of {worker}");
            switch (kind)
            {
                case 0 or 1: world.Faults.KillAndRestart(worker); break;
                case 2: worker.Kill("kill -9"); break;
                case 3: worker.Pause(world.Random.Next(100, 20_000)); break;
                case 4: worker.Stream?.Connection.Break("connection reset"); break;
                default: world.Faults.KillAndRestart(world.Cluster.Owner); break;
            }
        });
    }

    public bool CrashesWhileJournaling(SimulatedCoordinator coordinator, string when)
    {
        if (!Strikes)
            return false;
        world.Note($"hazard {when} journaling");
        world.Faults.KillAndRestart(coordinator);
        return true;
    }
}
