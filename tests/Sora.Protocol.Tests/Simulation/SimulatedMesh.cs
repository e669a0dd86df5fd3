using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;

namespace Sora.Protocol.Tests.Simulation;

/// <summary>What a member sends to each peer for one step or one evaluation.</summary>
internal sealed record Contribution(int Number, string What, long Step, ulong Weights, IReadOnlyList<(int Lane, ulong Gradient)> Gradients, bool HaltAfterStep);

/// <summary>A member asks a holder for its state, gets it in parts, or is told why a peer leaves.</summary>
internal sealed record StateWanted;

internal sealed record StatePart(int Number, int Of, ulong Weights);

internal sealed record Leaving(string Reason);

/// <summary>The exchange, or the way into it, cannot go on.</summary>
internal sealed class MeshBroken(string reason, params string[] suspects) : Exception(reason)
{
    public IReadOnlyList<string> Suspects => suspects;
}

/// <summary>
/// One member's connections to its peers of one generation. An exchange ends here only when the contributions of all members have come,
/// so a peer that is gone, silent or elsewhere stops it. A peer that has said why it leaves is not suspected of anything.
/// </summary>
internal sealed class SimulatedMesh(Simulation world, SimulatedWorker owner, WorkerGeneration generation, int rank)
{
    private const int Parts = 3;
    private readonly Connection.End?[] _peers = new Connection.End?[generation.Members.Count];
    private readonly string?[] _gone = new string?[generation.Members.Count];
    private readonly bool[] _crashed = new bool[generation.Members.Count];
    // A peer can be one exchange ahead, and no more.
    private readonly Collective[] _collectives = [new Collective(generation.Members.Count), new Collective(generation.Members.Count)];
    private readonly List<StatePart> _parts = [];
    private TaskCompletionSource? _waiting;
    private Func<bool> _complete = () => true;
    private Func<IEnumerable<int>> _missing = () => [];
    private long _lastProgress;
    private int _connected;
    private int _number;
    private bool _anyGone;

    public WorkerGeneration Generation => generation;

    public int Rank => rank;

    /// <summary>Why this member has left; null: it has not.</summary>
    public string? Left { get; private set; }

    private LaneRange Lanes => generation.Members[rank].Lanes;

    private IEnumerable<int> Others => Enumerable.Range(0, _peers.Length).Where(peer => peer != rank);

    /// <summary>Until all peers are connected. The lower rank dials.</summary>
    public Task ConnectAsync()
    {
        Dial();
        return Wait(() => _connected == _peers.Length - 1, () => Others.Where(peer => _peers[peer] is null));
    }

    /// <summary>Takes the state of the first step from a peer's memory. Nothing is taken up before all of it is here.</summary>
    public async Task<ulong> ReceiveStateAsync()
    {
        var holder = generation.Holders[world.Random.Next(generation.Holders.Count)];
        _peers[holder]?.Send(new StateWanted());
        var enough = world.Rules.TakesHalfAState ? Parts - 1 : Parts;
        await Wait(() => _parts.Count >= enough, () => [holder]);
        return _parts[^1].Weights;
    }

    /// <summary>Everybody's contribution to a step, or to an evaluation.</summary>
    public async Task<IReadOnlyList<Contribution>> ExchangeAsync(string what, StandInTrainer trainer, bool haltAfterStep)
    {
        var number = ++_number;
        var own = new Contribution(number, what, trainer.Step, trainer.Weights, what == "step" ? trainer.Compute(Lanes) : [], haltAfterStep);
        var collective = _collectives[number & 1];
        collective.Take(rank, own);
        foreach (var peer in Others)
            _peers[peer]!.Send(own);
        world.Hazards.Strike("exchange", owner);
        await Wait(() => collective.Missing == 0, () => Others.Where(peer => collective.Of[peer] is null));
        var all = collective.Empty();
        world.Invariants.Exchanged(owner, generation, all);
        return all;
    }

    public void Leave(string reason)
    {
        if (Left is not null)
            return;
        Left = reason;
        foreach (var peer in Others)
        {
            _peers[peer]?.Send(new Leaving(reason));
            _peers[peer]?.Close(reason);
        }
        Look();
    }

    private void Dial()
    {
        if (Left is not null || !Others.Any(peer => peer > rank && _peers[peer] is null))
            return;
        foreach (var peer in Others.Where(peer => peer > rank && _peers[peer] is null))
        {
            var name = generation.Members[peer].Worker;
            if (world.WorkerNamed(name) is not { Alive: true, Paused: false } other || !world.Network.Connects(owner.Name, name))
                continue;
            if (other.Mesh is { Left: null } there && there.Generation.Number == generation.Number && there.Generation.Secret.Span.SequenceEqual(generation.Secret.Span))
                Connect(there, peer, other);
            else if (other.State.Generation >= generation.Number)
                (_gone[peer], _anyGone) = ("has left already", true);
        }
        Look();
        owner.After(world.Random.Next(20, 120), Dial);
    }

    private void Connect(SimulatedMesh there, int peer, SimulatedWorker other)
    {
        var connection = new Connection(world, owner, other);
        Listen(peer, connection.Dialer);
        there.Listen(rank, connection.Listener);
        there.Look();
    }

    private void Listen(int peer, Connection.End end)
    {
        _peers[peer] = end;
        _connected++;
        end.Received = message => Receive(peer, message);
        end.Closed = reason =>
        {
            _crashed[peer] = _gone[peer] is null;
            _gone[peer] ??= reason;
            _anyGone = true;
            Look();
        };
    }

    private void Receive(int peer, object message)
    {
        _lastProgress = world.Now;
        switch (message)
        {
            case Contribution contribution:
                _collectives[contribution.Number & 1].Take(peer, contribution);
                break;
            case Leaving leaving:
                (_gone[peer], _anyGone) = (leaving.Reason, true);
                break;
            case StatePart part:
                _parts.Add(part);
                break;
            case StateWanted:
                owner.Start(() => SendStateAsync(_peers[peer]!));
                return;
        }
        Look();
    }

    /// <summary>Who keeps an exchange back in which nothing has moved for some time.</summary>
    public IEnumerable<string> WaitsFor() =>
        _waiting is { Task.IsCompleted: false } && _number > 0 && world.Now - _lastProgress >= Simulation.NoticeableWait ? _missing().Where(peer => _gone[peer] is null).Select(Name) : [];

    private async Task SendStateAsync(Connection.End peer)
    {
        for (var part = 1; part <= Parts; part++)
        {
            await owner.Delay(world.Random.Next(5, 200));
            world.Hazards.Strike("state transfer", owner);
            // Only all parts together are the state.
            peer.Send(new StatePart(part, Parts, part == Parts ? owner.Trainer.Weights : owner.Trainer.Weights ^ 0xbad));
        }
    }

    private async Task Wait(Func<bool> complete, Func<IEnumerable<int>> missing)
    {
        (_complete, _missing, _waiting, _lastProgress) = (complete, missing, new TaskCompletionSource(), world.Now);
        Look();
        if (!_waiting.Task.IsCompleted)
            owner.After(Simulation.PeerTimeout, Expire);
        await _waiting.Task;
    }

    private void Expire()
    {
        if (_waiting is not { Task.IsCompleted: false })
            return;
        if (world.Now - _lastProgress >= Simulation.PeerTimeout)
            Fail("nothing moved", [.. _missing().Select(Name)]);
        else
            owner.After(_lastProgress + Simulation.PeerTimeout - world.Now, Expire);
    }

    /// <summary>Something is different: is it enough, or can it never be?</summary>
    private void Look()
    {
        if (_waiting is not { Task.IsCompleted: false } waiting)
            return;
        if (Left is not null)
            Fail("", []);
        else if (_complete())
            waiting.SetResult();
        else if (_anyGone && _missing().FirstOrDefault(peer => _gone[peer] is not null, -1) is var peer and >= 0)
            Fail($"{Name(peer)} is gone: {_gone[peer]}", _crashed[peer] ? [Name(peer)] : []);
    }

    private void Fail(string reason, string[] suspects) => _waiting!.SetException(new MeshBroken(reason, suspects));

    private string Name(int peer) => generation.Members[peer].Worker;

    /// <summary>What has come of one exchange.</summary>
    private sealed class Collective(int members)
    {
        public Contribution?[] Of { get; private set; } = new Contribution?[members];

        public int Missing { get; private set; } = members;

        public void Take(int rank, Contribution contribution)
        {
            if (Of[rank] is not null)
                throw new BrokenPromise($"rank {rank} contributed to exchange {contribution.Number} before exchange {Of[rank]!.Number} was over");
            Of[rank] = contribution;
            Missing--;
        }

        public IReadOnlyList<Contribution> Empty()
        {
            var all = Of;
            (Of, Missing) = (new Contribution?[all.Length], all.Length);
            return all!;
        }
    }
}
