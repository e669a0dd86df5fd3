namespace Sora.Protocol.Tests.Simulation;

/// <summary>Which machine reaches which, in each direction, and how fast.</summary>
internal sealed class SimulatedNetwork(Simulation world)
{
    private readonly HashSet<(string From, string To)> _cut = [];
    private readonly Dictionary<(string From, string To), int> _slow = [];

    public bool Reaches(string from, string to) => !_cut.Contains((from, to));

    public bool Connects(string one, string other) => Reaches(one, other) && Reaches(other, one);

    public long Delay(string from, string to) => world.Random.Next(1, 6) + (_slow.TryGetValue((from, to), out var extra) ? world.Random.Next(extra) : 0);

    public void Cut(string from, string to)
    {
        world.Note($"nothing from {from} reaches {to}");
        _cut.Add((from, to));
    }

    public void Slow(string from, string to, int milliseconds)
    {
        world.Note($"{from} to {to} takes up to {milliseconds} ms");
        _slow[(from, to)] = milliseconds;
    }

    public void Mend(string from, string to)
    {
        _cut.Remove((from, to));
        _slow.Remove((from, to));
    }

    public void MendAll()
    {
        _cut.Clear();
        _slow.Clear();
    }
}
