using Sora.Protocol.Generations;

namespace Sora.Protocol.Tests.Simulation;

/// <summary>
/// The coordinators, the journal they share, and what decides whose the run is. An owner that crashed, sleeps or is cut off from the
/// others is replaced after a while; it may not know that and go on. The journal takes a decision only from who has read all before it.
/// </summary>
internal sealed class SimulatedCluster
{
    private const long Watch = 500;
    private const long Patience = 4_000;
    private readonly Simulation _world;
    private readonly List<RunDecision> _journal = [];
    private SimulatedCoordinator _owner;
    private long _healthyAt;
    private int _lives;

    public SimulatedCluster(Simulation world, int coordinators)
    {
        _world = world;
        Coordinators = [.. Enumerable.Range(1, coordinators).Select(number => new SimulatedCoordinator(world, $"c{number}"))];
        _owner = Coordinators[0];
        world.After(0, Look);
    }

    public IReadOnlyList<SimulatedCoordinator> Coordinators { get; }

    public IReadOnlyList<RunDecision> Journal => _journal;

    public SimulatedCoordinator Owner => _owner;

    /// <summary>The owner and the others do not see each other; workers may see all of them.</summary>
    public bool OwnerIsolated { get; set; }

    public bool Over => _journal.Count > 0 && _journal[^1] is RunEnded;

    public int NextLife() => ++_lives;

    public bool Append(SimulatedCoordinator writer, int sequence, RunDecision decision)
    {
        if (sequence != _journal.Count)
            return false;
        _world.Note($"journal {sequence}: {decision}");
        _world.Invariants.Journaled(writer, decision);
        _journal.Add(decision);
        return true;
    }

    private void Look()
    {
        var healthy = _owner is { Alive: true, Paused: false } && !OwnerIsolated;
        if (healthy)
            _healthyAt = _world.Now;
        if (!healthy && _world.Now - _healthyAt >= Patience && Coordinators.FirstOrDefault(other => other != _owner && other is { Alive: true, Paused: false }) is { } next)
        {
            (_owner, OwnerIsolated, healthy, _healthyAt) = (next, false, true, _world.Now);
            foreach (var deposed in Coordinators.Where(other => other != next && other.Active))
                deposed.After(_world.Random.Next(1, 8_000), () => Depose(deposed));
        }
        if (healthy && !_owner.Active)
            _owner.Activate();
        if (_journal.Count == 0 && _owner is { Active: true, Paused: false })
            _owner.Happen(new RunSubmitted(_world.Schedule.Spec));
        _world.After(Watch, Look);
    }

    private void Depose(SimulatedCoordinator deposed)
    {
        if (deposed != _owner)
            deposed.Deactivate("another one has taken over");
    }
}
