using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Wire;

namespace Sora.Worker.Exchange;

/// <summary>
/// Which collective this worker is in, and what has arrived of it and of the next. Guarded by the exchange's lock.
/// </summary>
internal sealed class Collectives(ExchangeGroup group, ChunkLayout layout, SubtreeLeaves leaves) : IAwaited
{
    private readonly ulong _runKey = FrameHeader.RunKey(group.Identity.Run);
    private readonly CollectiveSlot[] _slots = [.. Enumerable.Range(0, 2).Select(_ =>
        new CollectiveSlot(group.Members.Count, layout.Frames(group.Rank), leaves.Partials, layout.AllFrames))];
    private long _sequence;
    private long _step;
    private ExchangePhase _phase;
    private nint _result;

    /// <summary>A collective has begun and not ended.</summary>
    public bool InProgress { get; private set; }

    /// <summary>No collective has begun yet.</summary>
    public bool NoneBegun => NoneEnded && !InProgress;

    /// <summary>No collective has ended yet: the state is still the one the generation began with.</summary>
    public bool NoneEnded => _sequence == 0;

    public string Where => $"Step {_step}";

    /// <summary>The one in progress.</summary>
    public CollectiveSlot Current => _slots[_sequence & 1];

    /// <returns>The rank and position of a peer that is elsewhere already; null: all that have told are at this step too.</returns>
    public (int Rank, string Message)? Begin(long step, ExchangePhase phase, LaneTotals[] totals, bool stopRequested, nint result)
    {
        (_step, _phase, _result, InProgress) = (step, phase, result, true);
        Current.ExpectResults(phase is ExchangePhase.Totals ? layout.AllFrames - layout.Frames(group.Rank) : 0);
        Current.TakeTotals(group.Rank, totals, stopRequested, step, phase);
        for (var rank = 0; rank < group.Members.Count; rank++)
        {
            if (Current.Announced[rank] is { } announced && announced != (step, phase))
                return (rank, $"has lost step with this worker: it is at step {announced.Step} ({announced.Phase}), this worker at step {step} ({phase})");
        }
        return null;
    }

    public StepTotals End()
    {
        var lossSums = new double[group.Lanes];
        long targetTokens = 0;
        foreach (var lane in Current.Totals.SelectMany(totals => totals!))
        {
            lossSums[lane.Lane] = lane.LossSum;
            targetTokens += lane.TargetTokens;
        }
        var lossSum = LaneTree.Fold(new LaneRange(0, lossSums.Length), node => (node.Count == 1, lossSums[node.First]), (left, right) => left + right);
        var ended = new StepTotals(lossSum, targetTokens, Current.StopRequested);
        Current.Reset();
        _sequence++;
        (InProgress, _result) = (false, 0);
        return ended;
    }

    /// <summary>Everything this collective needs of peers is here.</summary>
    public bool Complete => Current is { TotalsMissing: 0, ResultsMissing: 0 };

    public Lack? Missing(int rank)
    {
        if (Current.Totals[rank] is null)
            return new Lack(_phase is ExchangePhase.Totals ? "its totals" : "its evaluation totals", OnlyItCan: true);
        if (_phase is not ExchangePhase.Totals)
            return null;
        if (leaves.PartialsOf(rank).Any(Current.AnyPartialMissing))
            return new Lack("its share of the gradient (scatter)", OnlyItCan: true);
        return Current.AnyResultMissing(layout.FirstFrame(rank), layout.Frames(rank)) ? new Lack("its chunk of the finished sum (result)", OnlyItCan: false) : null;
    }

    public FrameHeader Header(ExchangePhase phase, int chunk, LaneRange node, long offset, int bytes) =>
        new(_runKey, group.Identity.Generation, _sequence, _step, phase, chunk, node, offset, bytes);

    /// <returns>False: the frame is to be dropped.</returns>
    /// <exception cref="InvalidFrameException">No such frame may come now.</exception>
    public bool Admits(in FrameHeader header, bool serving, bool fetching) =>
        CollectiveWindow.Judge(header, _runKey, group.Identity.Generation, _sequence, InProgress, serving, fetching) switch
        {
            FrameVerdict.Take => true,
            FrameVerdict.Drop => false,
            _ => throw new InvalidFrameException(
                $"a {header.Phase} of generation {header.Generation}, collective {header.Sequence}, step {header.Step} cannot come while this worker is at collective {_sequence}, step {_step}"),
        };

    /// <summary>Where the payload of an admitted gradient frame goes; zero: nowhere, it is here already.</summary>
    /// <exception cref="InvalidFrameException">It does not fit this exchange.</exception>
    public nint Place(int rank, in FrameHeader header)
    {
        var slot = _slots[header.Sequence & 1];
        var length = header.PayloadBytes / sizeof(float);
        var frame = header.PayloadBytes % sizeof(float) == 0 ? layout.FrameAt(header.Chunk, header.Offset, length) : -1;
        if (header.Phase is ExchangePhase.GradientResult)
        {
            if (frame < 0 || header.Chunk != rank || header.Step != _step || _phase is not ExchangePhase.Totals)
                throw new InvalidFrameException($"a result of step {header.Step} at {header.Offset} (+{length}) of chunk {header.Chunk} does not fit this exchange");
            return slot.HasResult(layout.FirstFrame(rank) + frame) ? 0 : ChunkLayout.At(_result, header.Offset);
        }
        var partial = leaves.PartialOf(rank, header.Node);
        if (frame < 0 || header.Chunk != group.Rank || partial < 0)
            throw new InvalidFrameException($"a sum of {header.Node} at {header.Offset} (+{length}) of chunk {header.Chunk} does not fit this exchange");
        return slot.HasPartial(frame, partial) ? 0 : leaves.AddressOf(partial, header.Offset);
    }

    /// <summary>Notes that the payload of a placed gradient frame lies there.</summary>
    /// <returns>Whether the training thread can go on now.</returns>
    public bool Take(int rank, in FrameHeader header)
    {
        var slot = _slots[header.Sequence & 1];
        var frame = layout.FrameAt(header.Chunk, header.Offset, header.PayloadBytes / sizeof(float));
        return header.Phase is ExchangePhase.GradientResult
            ? slot.TakeResult(layout.FirstFrame(rank) + frame)
            : slot.TakePartial(frame, leaves.PartialOf(rank, header.Node));
    }

    /// <inheritdoc cref="Take"/>
    /// <exception cref="InvalidFrameException">The peer is at another step.</exception>
    public bool TakeTotals(int rank, in FrameHeader header, LaneTotals[] totals, bool stopRequested)
    {
        if (header.Sequence == _sequence && InProgress && (header.Step, header.Phase) != (_step, _phase))
            throw new InvalidFrameException($"it is at step {header.Step} ({header.Phase}), this worker at step {_step} ({_phase})");
        var slot = _slots[header.Sequence & 1];
        slot.TakeTotals(rank, totals, stopRequested, header.Step, header.Phase);
        return slot.TotalsMissing == 0;
    }
}
