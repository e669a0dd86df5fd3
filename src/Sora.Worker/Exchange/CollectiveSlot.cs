using System.Collections;
using Sora.Protocol.Exchange;
using Sora.Protocol.Wire;

namespace Sora.Worker.Exchange;

/// <summary>
/// What has arrived of one collective. There are two, used in turn: peers may be one collective ahead. Guarded by the
/// exchange's lock.
/// </summary>
internal sealed class CollectiveSlot
{
    private readonly int _workers;
    private readonly BitArray _partials;
    private readonly BitArray _results;
    private readonly int[] _partialsMissing;
    private readonly int _partialsPerFrame;
    private readonly Queue<int> _readyFrames = new();

    /// <param name="workers">Workers of the generation.</param>
    /// <param name="ownFrames">Frames of the chunk this worker owns.</param>
    /// <param name="partialsPerFrame">Subtree sums that peers send for each of them.</param>
    /// <param name="allFrames">Frames of all chunks.</param>
    public CollectiveSlot(int workers, int ownFrames, int partialsPerFrame, int allFrames)
    {
        (_workers, _partialsPerFrame) = (workers, partialsPerFrame);
        _partials = new BitArray(ownFrames * partialsPerFrame);
        _results = new BitArray(allFrames);
        _partialsMissing = new int[ownFrames];
        Totals = new LaneTotals[workers][];
        Announced = new (long, ExchangePhase)?[workers];
        Reset();
    }

    /// <summary>Bookkeeping by rank; null until it is here.</summary>
    public LaneTotals[]?[] Totals { get; }

    /// <summary>By rank, the step and phase its totals are of; null until they are here.</summary>
    public (long Step, ExchangePhase Phase)?[] Announced { get; }

    public int TotalsMissing { get; private set; }

    public int ResultsMissing { get; private set; }

    public bool StopRequested { get; private set; }

    /// <summary>Makes the slot ready for the collective after the next.</summary>
    public void Reset()
    {
        _partials.SetAll(false);
        _results.SetAll(false);
        Array.Fill(_partialsMissing, _partialsPerFrame);
        Array.Clear(Totals);
        Array.Clear(Announced);
        _readyFrames.Clear();
        for (var frame = 0; _partialsPerFrame == 0 && frame < _partialsMissing.Length; frame++)
            _readyFrames.Enqueue(frame);
        TotalsMissing = _workers;
        StopRequested = false;
    }

    /// <summary>Says how many frames of finished sums peers will send in this collective.</summary>
    public void ExpectResults(int frames) => ResultsMissing = frames;

    public void TakeTotals(int rank, LaneTotals[] totals, bool stopRequested, long step, ExchangePhase phase)
    {
        if (Totals[rank] is not null)
            throw new InvalidFrameException("Totals came twice.");
        Totals[rank] = totals;
        Announced[rank] = (step, phase);
        TotalsMissing--;
        StopRequested |= stopRequested;
    }

    public bool HasPartial(int frame, int partial) => _partials[frame * _partialsPerFrame + partial];

    /// <returns>Whether the frame is ready now.</returns>
    public bool TakePartial(int frame, int partial)
    {
        _partials[frame * _partialsPerFrame + partial] = true;
        if (--_partialsMissing[frame] > 0)
            return false;
        _readyFrames.Enqueue(frame);
        return true;
    }

    public bool HasResult(int frame) => _results[frame];

    /// <returns>Whether it was the last.</returns>
    public bool TakeResult(int frame)
    {
        _results[frame] = true;
        return --ResultsMissing == 0;
    }

    /// <summary>A frame of the own chunk for which all subtree sums are here.</summary>
    public bool TryTakeReadyFrame(out int frame) => _readyFrames.TryDequeue(out frame);

    public bool AnyPartialMissing(int partial)
    {
        for (var frame = 0; frame < _partialsMissing.Length; frame++)
        {
            if (!HasPartial(frame, partial))
                return true;
        }
        return false;
    }

    public bool AnyResultMissing(int first, int frames)
    {
        for (var frame = first; frame < first + frames; frame++)
        {
            if (!_results[frame])
                return true;
        }
        return false;
    }
}
