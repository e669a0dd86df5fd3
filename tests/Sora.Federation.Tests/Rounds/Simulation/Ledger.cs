using Sora.Federation.Rounds;

namespace Sora.Federation.Tests.Rounds.Simulation;

internal enum Entry
{
    Held,
    Spent,
    GivenBack,
}

/// <summary>A durable budget of so many attempts. What is held counts as spent.</summary>
internal sealed class Ledger(int limit)
{
    private readonly SortedDictionary<RoundKey, Entry> _entries = [];

    public IReadOnlyDictionary<RoundKey, Entry> Entries => _entries;

    public int Counted => _entries.Values.Count(entry => entry != Entry.GivenBack);

    public bool Covers(RoundKey key) => _entries.TryGetValue(key, out var entry) && entry != Entry.GivenBack;

    public bool Reserve(RoundKey key)
    {
        if (_entries.TryGetValue(key, out var entry))
            return entry == Entry.Held;
        if (Counted >= limit)
            return false;
        _entries[key] = Entry.Held;
        return true;
    }

    public void Settle(RoundKey key, bool spent)
    {
        if (_entries.GetValueOrDefault(key, Entry.Held) == Entry.Held)
            _entries[key] = spent ? Entry.Spent : Entry.GivenBack;
    }
}
