namespace Sora.Protocol.Tests.Simulation;

/// <summary>
/// One connection as TCP gives it: each direction delivers in order and without repetition, or not at all. When it breaks, the tail of
/// what was sent is lost in both directions and the two ends notice at different times. A direction that is cut delivers later,
/// if nobody has given up meanwhile. Different connections know nothing of each other.
/// </summary>
internal sealed class Connection
{
    private const long Retransmission = 100; // ms
    private readonly Simulation _world;

    public Connection(Simulation world, SimulatedProcess dialer, SimulatedProcess listener)
    {
        _world = world;
        (Dialer, Listener) = (new End(this, dialer), new End(this, listener));
        (Dialer.Other, Listener.Other) = (Listener, Dialer);
    }

    public End Dialer { get; }

    public End Listener { get; }

    /// <summary>A router dies, a proxy restarts: both processes are well and the connection is not.</summary>
    public void Break(string reason)
    {
        foreach (var end in new[] { Dialer, Listener })
        {
            LoseTail(end);
            end.SendClosing(reason, _world.Random.Next(4) == 0 ? _world.Random.Next(15_000) : _world.Random.Next(300));
        }
    }

    /// <summary>Forgets a random number of the last messages an end has sent.</summary>
    public void LoseTail(End end) => end.Forget(_world.Random.Next(end.InFlight + 1));

    internal sealed class End
    {
        private readonly List<(long Ready, object? Message, string Closing)> _sent = [];
        private long _lastReady;
        private bool _underWay;
        private bool _closing;

        public End(Connection connection, SimulatedProcess process)
        {
            (Connection, Process) = (connection, process);
            process.Attach(this);
        }

        public Connection Connection { get; }

        public SimulatedProcess Process { get; }

        public End Other { get; set; } = null!;

        /// <summary>As far as this end knows.</summary>
        public bool Open { get; private set; } = true;

        public int InFlight => _sent.Count;

        public Action<object> Received { get; set; } = _ => { };

        public Action<string> Closed { get; set; } = _ => { };

        private Simulation World => Connection._world;

        public void Send(object message)
        {
            if (Open && !_closing)
                Put(message, "", World.Network.Delay(Process.Name, Other.Process.Name));
        }

        /// <summary>Closes from this side, without a word to this side.</summary>
        public void Close(string reason)
        {
            if (!Open)
                return;
            Open = false;
            Process.Detach(this);
            SendClosing(reason, 0);
        }

        public void SendClosing(string reason, long late)
        {
            if (_closing)
                return;
            _closing = true;
            Put(null, reason, World.Network.Delay(Process.Name, Other.Process.Name) + late);
        }

        public void Forget(int last)
        {
            if (!_closing)
                _sent.RemoveRange(_sent.Count - last, last);
        }

        private void Put(object? message, string closing, long delay)
        {
            _lastReady = Math.Max(_lastReady, World.Now + delay);
            _sent.Add((_lastReady, message, closing));
            Transport();
        }

        private void Transport()
        {
            if (_underWay || _sent.Count == 0)
                return;
            _underWay = true;
            World.After(_sent[0].Ready - World.Now, Arrive);
        }

        private void Arrive()
        {
            _underWay = false;
            if (!Other.Open)
                return;
            if (!World.Network.Reaches(Process.Name, Other.Process.Name))
            {
                _underWay = true;
                World.After(Retransmission, Arrive);
                return;
            }
            while (_sent.Count > 0 && _sent[0].Ready <= World.Now)
            {
                var (_, message, closing) = _sent[0];
                _sent.RemoveAt(0);
                var receiver = Other;
                receiver.Process.After(0, () => receiver.Take(message, closing));
            }
            Transport();
        }

        private void Take(object? message, string closing)
        {
            if (!Open)
                return;
            if (message is not null)
            {
                Received(message);
                return;
            }
            Open = false;
            Process.Detach(this);
            Closed(closing);
        }
    }
}
