namespace Sora.Protocol.Wire;

/// <summary>What a receiver does with a frame.</summary>
public enum FrameVerdict
{
    /// <summary>It belongs to the collective in progress, or to the next one, which a peer may have begun already.</summary>
    Take,
    /// <summary>It comes from the past, or from another run or generation: harmless, dropped.</summary>
    Drop,
    /// <summary>No worker that follows the protocol sends it here: the connection cannot be trusted any more.</summary>
    Reject,
}

/// <summary>
/// Which frames may arrive while a worker is in its collective number <c>current</c>. Nobody can finish a collective
/// without everyone's totals, so a peer is at most one ahead, and it is ahead only if this worker has sent its own.
/// </summary>
public static class CollectiveWindow
{
    /// <summary>Judges a frame by its header.</summary>
    /// <param name="header">The frame's header.</param>
    /// <param name="run">Key of this worker's run.</param>
    /// <param name="generation">This worker's generation.</param>
    /// <param name="current">The collective in progress, or the next one while none is.</param>
    /// <param name="inProgress">Whether this worker has begun <paramref name="current"/>.</param>
    /// <param name="serving">Whether others may take over the state from this worker.</param>
    /// <param name="fetching">Whether this worker takes over the state from others.</param>
    public static FrameVerdict Judge(in FrameHeader header, ulong run, long generation, long current, bool inProgress, bool serving, bool fetching)
    {
        if (header.Run != run || header.Generation < generation)
            return FrameVerdict.Drop;
        if (header.Generation > generation)
            return FrameVerdict.Reject;
        if (header.Phase is ExchangePhase.Bye)
            return FrameVerdict.Take;
        if (header.Phase >= ExchangePhase.Greeting)
            return FrameVerdict.Reject;
        // The state is the one the generation begins with: nobody fetches it once a collective has ended.
        if (header.Phase is ExchangePhase.StateRequest)
            return serving && current == 0 ? FrameVerdict.Take : FrameVerdict.Reject;
        if (header.Phase is ExchangePhase.StateChunk or ExchangePhase.StateMismatch)
            return fetching && current == 0 ? FrameVerdict.Take : FrameVerdict.Reject;
        // The first collective cannot end before the joiner takes part in it.
        if (header.Phase is ExchangePhase.StateProgress)
            return current == 0 ? FrameVerdict.Take : FrameVerdict.Reject;
        if (header.Sequence < current)
            return FrameVerdict.Drop;
        // A finished sum holds this worker's share, so it cannot exist before this worker has begun.
        if (header.Phase is ExchangePhase.GradientResult)
            return header.Sequence == current && inProgress ? FrameVerdict.Take : FrameVerdict.Reject;
        return header.Sequence == current || (header.Sequence == current + 1 && inProgress) ? FrameVerdict.Take : FrameVerdict.Reject;
    }
}
