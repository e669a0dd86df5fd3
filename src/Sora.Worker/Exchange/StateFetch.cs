using Sora.Protocol.Wire;

namespace Sora.Worker.Exchange;

/// <summary>
/// How a joiner takes over the state: it is striped over the holders, and of each holder a few frames are asked for ahead
/// so that it never waits for the next question. Guarded by the exchange's lock.
/// </summary>
internal sealed class StateFetch : IAwaited
{
    /// <summary>Frames asked of a holder and not here yet.</summary>
    internal const int FramesInFlight = 16;

    private readonly StateRegions _into;
    private readonly Stripe?[] _stripes;
    private long _missing;

    private sealed class Stripe
    {
        public long Next { get; set; }
        public long End { get; init; }
        public Queue<(long Offset, int Length)> InFlight { get; } = new();
    }

    /// <param name="into">Where it goes.</param>
    /// <param name="holders">Ranks that hold it.</param>
    /// <param name="workers">Workers of the generation.</param>
    public StateFetch(StateRegions into, IReadOnlyList<int> holders, int workers)
    {
        (_into, _missing, _stripes) = (into, into.Bytes, new Stripe?[workers]);
        for (var i = 0; i < holders.Count; i++)
            _stripes[holders[i]] = new Stripe { Next = Border(i), End = Border(i + 1) };

        // Borders between frames, so that all but the last of a stripe are whole.
        long Border(int stripe) => stripe == holders.Count
            ? into.Bytes
            : (long)((Int128)into.Bytes * stripe / holders.Count) / StateRegions.FrameBytes * StateRegions.FrameBytes;
    }

    public string Where => "Taking over the state";

    /// <summary>Bytes of the whole state.</summary>
    public long Bytes => _into.Bytes;

    /// <summary>Every byte is here.</summary>
    public bool Complete => _missing == 0;

    /// <summary>A holder whose state has another size, and that size.</summary>
    public (int Rank, long Bytes)? Mismatch { get; private set; }

    public Lack? Missing(int rank) =>
        _stripes[rank] is { } stripe && (stripe.InFlight.Count > 0 || stripe.Next < stripe.End) ? new Lack("its part of the state", OnlyItCan: true) : null;

    /// <summary>The next frame to ask a holder for.</summary>
    public bool TryAsk(int rank, out long offset, out int length)
    {
        (offset, length) = (0, 0);
        if (_stripes[rank] is not { } stripe || stripe.Next == stripe.End || stripe.InFlight.Count == FramesInFlight)
            return false;
        (offset, length) = (stripe.Next, _into.FrameLength(stripe.Next, stripe.End));
        stripe.InFlight.Enqueue((offset, length));
        stripe.Next += length;
        return true;
    }

    /// <exception cref="InvalidFrameException">It is not the frame this holder was asked for next.</exception>
    public nint Place(int rank, in FrameHeader header)
    {
        if (_stripes[rank] is not { } stripe || !stripe.InFlight.TryPeek(out var next) || next != (header.Offset, header.PayloadBytes))
            throw new InvalidFrameException($"{header.PayloadBytes} bytes of state at {header.Offset} were not asked for");
        return _into.Find(header.Offset, header.PayloadBytes);
    }

    public void Take(int rank) => _missing -= _stripes[rank]!.InFlight.Dequeue().Length;

    public void TakeMismatch(int rank, long bytes) => Mismatch = (rank, bytes);
}
