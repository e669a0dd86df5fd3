namespace Sora.Benchmarks.Soak;

/// <summary>What can be done to a run.</summary>
internal enum Fault
{
    /// <summary>kill -9 of a worker.</summary>
    Kill,

    /// <summary>SIGSTOP, and SIGCONT after some seconds.</summary>
    Pause,

    /// <summary>SIGTERM of a worker.</summary>
    Drain,

    /// <summary>One more worker.</summary>
    Join,

    /// <summary>kill -9 of the coordinator.</summary>
    Coordinator,
}

/// <summary>
/// Deals faults at random from decks of twelve, two thirds of them kills, so that also a short soak has the stated mixture.
/// A seed gives the same faults at the same times.
/// </summary>
internal sealed class FaultDeck(int seed)
{
    private static readonly Fault[] Deck = [.. Enumerable.Repeat(Fault.Kill, 8), Fault.Pause, Fault.Drain, Fault.Join, Fault.Coordinator];

    private readonly Random _random = new(seed);
    private readonly Queue<Fault> _cards = new();

    public Fault Next()
    {
        if (_cards.Count == 0)
        {
            var deck = Deck.ToArray();
            _random.Shuffle(deck);
            foreach (var card in deck)
                _cards.Enqueue(card);
        }
        return _cards.Dequeue();
    }

    /// <summary>Seconds until the next fault.</summary>
    public double Interval() => 15 + 15 * _random.NextDouble();

    /// <summary>How long a paused process sleeps, in seconds.</summary>
    public double PauseLength() => 1 + 9 * _random.NextDouble();

    public T Choose<T>(IReadOnlyList<T> among) => among[_random.Next(among.Count)];
}
