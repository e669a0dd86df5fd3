namespace Sora.Protocol.Tests.Simulation;

/// <summary>A process on a machine of its own: it can be killed at any time, and it can be put to sleep and wake much later.</summary>
internal abstract class SimulatedProcess(Simulation world, string name)
{
    private readonly Queue<Action> _overslept = [];
    private readonly List<Connection.End> _connections = [];
    private long _awakeAt;
    private int _life;

    public string Name => name;

    public bool Alive { get; private set; } = true;

    public bool Paused => World.Now < _awakeAt;

    protected Simulation World => world;

    /// <summary>Does something in this process after a while; never if it is dead by then, and later if it sleeps.</summary>
    public void After(long milliseconds, Action happening)
    {
        var life = _life;
        World.After(milliseconds, () => Run(life, happening));
    }

    public Task Delay(long milliseconds)
    {
        var done = new TaskCompletionSource();
        After(milliseconds, done.SetResult);
        return done.Task;
    }

    /// <summary>Runs work that waits in between. An error anywhere ends the simulation.</summary>
    public async void Start(Func<Task> work)
    {
        try
        {
            await work();
        }
        catch (Exception broken)
        {
            World.Broken = broken;
        }
    }

    public void Pause(long milliseconds)
    {
        World.Note($"{this} sleeps for {milliseconds} ms");
        _awakeAt = Math.Max(_awakeAt, World.Now + milliseconds);
        World.After(_awakeAt - World.Now, CatchUp);
    }

    public void Wake()
    {
        _awakeAt = World.Now;
        CatchUp();
    }

    /// <summary>kill -9: the machine closes the connections; what was still in its buffers may be lost.</summary>
    public virtual void Kill(string reason)
    {
        if (!Alive)
            return;
        World.Note($"{this} dies: {reason}");
        Die();
        foreach (var end in _connections.ToList())
            end.Connection.LoseTail(end);
        CloseConnections(reason);
    }

    public void Attach(Connection.End end) => _connections.Add(end);

    public void Detach(Connection.End end) => _connections.Remove(end);

    public override string ToString() => Name;

    /// <summary>The process ends by itself: what it sent before is delivered.</summary>
    protected void Leave(string reason)
    {
        Die();
        CloseConnections(reason);
    }

    /// <summary>Starts again with an empty memory.</summary>
    protected void Revive() => Alive = true;

    protected void CloseConnections(string reason)
    {
        foreach (var end in _connections.ToList())
            end.Close(reason);
    }

    private void Die()
    {
        Alive = false;
        _life++;
        _overslept.Clear();
        _awakeAt = 0;
    }

    private void Run(int life, Action happening)
    {
        if (!Alive || life != _life)
            return;
        if (Paused)
            _overslept.Enqueue(happening);
        else
            happening();
    }

    private void CatchUp()
    {
        var life = _life;
        while (!Paused && Alive && life == _life && _overslept.TryDequeue(out var happening))
            happening();
    }
}
