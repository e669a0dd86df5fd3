namespace Sora.Worker.Exchange;

/// <summary>Something this worker still lacks from a peer.</summary>
/// <param name="What">For messages.</param>
/// <param name="OnlyItCan">Nothing but the peer itself keeps it back: it does not wait for a third one.</param>
internal readonly record struct Lack(string What, bool OnlyItCan);

/// <summary>What the training thread waits for. Guarded by the exchange's lock.</summary>
internal interface IAwaited
{
    /// <summary>What is under way, to begin a message with.</summary>
    string Where { get; }

    /// <summary>What is still lacking from a peer; null: nothing.</summary>
    Lack? Missing(int rank);
}
