using Microsoft.Extensions.Logging;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Wire;

namespace Sora.Worker.Exchange;

/// <summary>
/// The exchange over a full mesh of sockets: direct reduce-scatter and all-gather. The flat gradient is cut into one chunk a
/// worker. Every worker sends each chunk of its subtree sums to the chunk's owner; the owner takes them up the lane tree as
/// soon as a frame's sums are all there, and sends the finished frame to everyone. Two hops, 2(N-1)/N of the gradient out
/// and in. Bookkeeping travels beside it. The training thread folds; each connection has its own threads to send and receive.
/// </summary>
/// <remarks>
/// No memory is needed twice although peers may be one collective ahead: a peer sends sums of collective c+1 only after it
/// holds all results of c, so this worker has folded, by then, everything it received for c. And a result may land on the
/// very memory a subtree sum was sent from: it contains that sum, so the sum has left long ago.
/// </remarks>
internal sealed class MeshExchange : IGradientExchange, IFrameSink
{
    /// <summary>Elements of a frame: small enough that sending, folding and receiving overlap, large enough that headers cost nothing.</summary>
    internal const int FrameLength = 128 * 1024;

    private readonly object _gate = new();
    private readonly Lock _closing = new();
    private readonly ExchangeGroup _group;
    private readonly IReadOnlyList<PeerConnection> _peers;
    private readonly TimeSpan _timeout;
    private readonly TimeProvider _time;
    private readonly ITimer _watch;
    private readonly ulong _runKey;
    private readonly ChunkLayout _layout;
    private readonly IReadOnlyList<SubtreeLeaf> _leaves;
    private readonly LaneRange[] _ownNodes;
    private readonly nint[] _leafAddresses;
    private readonly FoldPlan _fold;
    private readonly NativeFloats _received;
    private readonly CollectiveSlot[] _slots;
    private readonly PeerProgress[] _progress;

    private long _sequence;
    private bool _inProgress;
    private long _step;
    private ExchangePhase _phase;
    private nint _result;
    private long _lastProgress;
    private string? _closed;

    /// <summary>A subtree sum that takes part in every fold.</summary>
    /// <param name="Node">Which.</param>
    /// <param name="Rank">Who sums it.</param>
    /// <param name="Partial">Its index among the received ones; -1: this worker's own.</param>
    private readonly record struct SubtreeLeaf(LaneRange Node, int Rank, int Partial);

    /// <summary>How far a peer is with this worker.</summary>
    private struct PeerProgress
    {
        public string? Gone;
        public bool CannotSend;
        public int SendsPending;
    }

    /// <param name="group">The generation.</param>
    /// <param name="peers">An authenticated connection to every other member; owned from here on.</param>
    /// <param name="parameters">Elements of the flat gradient.</param>
    /// <param name="timeout">How long nothing at all may move while a collective is unfinished.</param>
    /// <param name="time">Clock.</param>
    public MeshExchange(ExchangeGroup group, IReadOnlyList<PeerConnection> peers, long parameters, TimeSpan timeout, TimeProvider time)
    {
        (_group, _peers, _timeout, _time) = (group, peers, timeout, time);
        _runKey = FrameHeader.RunKey(group.Identity.Run);
        var workers = group.Members.Count;
        _layout = new ChunkLayout(parameters, workers, FrameLength);
        _progress = new PeerProgress[workers];

        var partials = 0;
        _leaves = [.. group.Members.SelectMany((member, rank) => LaneTree.Cover(member.Lanes, group.Lanes).Select(node =>
            new SubtreeLeaf(node, rank, rank == group.Rank ? -1 : partials++)))];
        _ownNodes = [.. _leaves.Where(leaf => leaf.Partial < 0).Select(leaf => leaf.Node)];
        _leafAddresses = new nint[_leaves.Count];
        _fold = new FoldPlan([.. _leaves.Select(leaf => leaf.Node)], group.Lanes, i => _leaves[i].Partial >= 0);
        _received = new NativeFloats(partials * _layout.ChunkLength(group.Rank));
        _slots = [.. Enumerable.Range(0, 2).Select(_ => new CollectiveSlot(workers, _layout.Frames(group.Rank), partials, _layout.AllFrames))];
        _watch = time.CreateTimer(_ => WakeUp(), null, timeout / 4, timeout / 4);
        foreach (var peer in peers)
            peer.Start(this);
    }

    /// <summary>Connects the generation and makes its exchange.</summary>
    /// <exception cref="ExchangeBrokenException">A peer refuses, or cannot be reached in time.</exception>
    public static async Task<MeshExchange> ConnectAsync(
        ExchangeGroup group, ExchangeListener listener, long parameters, TimeSpan timeout, TimeProvider time, ILogger logger, CancellationToken cancellationToken)
    {
        var peers = await new MeshConnector(group, listener, timeout, time, logger).ConnectAsync(cancellationToken);
        return new MeshExchange(group, peers, parameters, timeout, time);
    }

    /// <inheritdoc/>
    public LaneRange Lanes => _group.Self.Lanes;

    /// <inheritdoc/>
    public StepTotals AllReduce(long step, ReadOnlySpan<SubtreeSum> subtrees, ReadOnlySpan<LaneTotals> totals, bool stopRequested, nint result, long length)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(length, _layout.Length);
        if (subtrees.Length != _ownNodes.Length)
            throw new ArgumentException($"Lanes {Lanes} have {_ownNodes.Length} maximal subtrees, not {subtrees.Length}.", nameof(subtrees));
        for (var i = 0; i < subtrees.Length; i++)
        {
            if (subtrees[i].Node != _ownNodes[i])
                throw new ArgumentException($"Subtree {i} is {subtrees[i].Node} instead of {_ownNodes[i]}.", nameof(subtrees));
        }
        try
        {
            var slot = Begin(step, ExchangePhase.Totals, totals, stopRequested, result, _layout.AllFrames - _layout.Frames(_group.Rank));
            Scatter(subtrees);
            for (var folded = 0; folded < _layout.Frames(_group.Rank); folded++)
                FoldAndSend(WaitForReadyFrame(slot), subtrees);
            return WaitForEnd(slot);
        }
        catch (ExchangeBrokenException e)
        {
            Leave(e.Message);
            throw;
        }
    }

    /// <inheritdoc/>
    public StepTotals Gather(long step, ReadOnlySpan<LaneTotals> totals)
    {
        try
        {
            return WaitForEnd(Begin(step, ExchangePhase.EvaluationTotals, totals, stopRequested: false, 0, 0));
        }
        catch (ExchangeBrokenException e)
        {
            Leave(e.Message);
            throw;
        }
    }

    /// <summary>Tells the peers why this worker leaves, and closes. After it returns no thread touches gradient memory any more.</summary>
    public void Leave(string reason)
    {
        lock (_gate)
        {
            _closed ??= reason;
            Monitor.PulseAll(_gate);
        }
        // Whoever comes second waits for the first to be done: both may rely on quiet memory afterwards.
        lock (_closing)
        {
            foreach (var peer in _peers)
                peer.Leave(Header(ExchangePhase.Bye, 0, default, 0, 0), reason);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Leave("its work is done");
        foreach (var peer in _peers)
            peer.Dispose();
        _watch.Dispose();
        _received.Dispose();
    }

    private CollectiveSlot Begin(long step, ExchangePhase phase, ReadOnlySpan<LaneTotals> totals, bool stopRequested, nint result, int resultFrames)
    {
        if (totals.Length != Lanes.Count)
            throw new ArgumentException($"Lanes {Lanes} have {totals.Length} totals.", nameof(totals));
        var payload = TotalsPayload.Write(totals, stopRequested);
        lock (_gate)
        {
            ThrowIfClosed();
            var slot = _slots[_sequence & 1];
            (_step, _phase, _result, _inProgress) = (step, phase, result, true);
            _lastProgress = _time.GetTimestamp();
            slot.ExpectResults(resultFrames);
            slot.TakeTotals(_group.Rank, totals.ToArray(), stopRequested, step, phase);
            foreach (var peer in _peers)
            {
                CheckSameStep(slot, peer);
                Send(peer, Header(phase, 0, default, 0, payload.Length), 0, payload);
            }
            return slot;
        }
    }

    private void Scatter(ReadOnlySpan<SubtreeSum> subtrees)
    {
        lock (_gate)
        {
            foreach (var peer in _peers)
            {
                for (var frame = 0; frame < _layout.Frames(peer.Rank); frame++)
                {
                    var (offset, length) = _layout.Frame(peer.Rank, frame);
                    foreach (var subtree in subtrees)
                        Send(peer, Header(ExchangePhase.GradientScatter, peer.Rank, subtree.Node, offset, length * sizeof(float)), At(subtree.Values, offset));
                }
            }
        }
    }

    private int WaitForReadyFrame(CollectiveSlot slot)
    {
        lock (_gate)
        {
            int frame;
            while (!slot.TryTakeReadyFrame(out frame))
                WaitForPeers(slot);
            return frame;
        }
    }

    private unsafe void FoldAndSend(int frame, ReadOnlySpan<SubtreeSum> subtrees)
    {
        var (offset, length) = _layout.Frame(_group.Rank, frame);
        var own = 0;
        for (var i = 0; i < _leafAddresses.Length; i++)
            _leafAddresses[i] = _leaves[i].Partial < 0 ? At(subtrees[own++].Values, offset) : PartialAt(_leaves[i].Partial, offset);
        _fold.Run(_leafAddresses, (float*)At(_result, offset), length);
        lock (_gate)
        {
            foreach (var peer in _peers)
                Send(peer, Header(ExchangePhase.GradientResult, _group.Rank, default, offset, length * sizeof(float)), At(_result, offset));
        }
    }

    private StepTotals WaitForEnd(CollectiveSlot slot)
    {
        lock (_gate)
        {
            while (slot.TotalsMissing > 0 || slot.ResultsMissing > 0 || AnySendPending())
                WaitForPeers(slot);
            var lossSums = new double[_group.Lanes];
            long targetTokens = 0;
            foreach (var lane in slot.Totals.SelectMany(totals => totals!))
            {
                lossSums[lane.Lane] = lane.LossSum;
                targetTokens += lane.TargetTokens;
            }
            var lossSum = LaneTree.Fold(new LaneRange(0, lossSums.Length), node => (node.Count == 1, lossSums[node.First]), (left, right) => left + right);
            var ended = new StepTotals(lossSum, targetTokens, slot.StopRequested);
            slot.Reset();
            _sequence++;
            (_inProgress, _result) = (false, 0);
            return ended;
        }
    }

    /// <summary>Waits, holding the lock, until something has moved; gives up when what is missing cannot come any more.</summary>
    private void WaitForPeers(CollectiveSlot slot)
    {
        ThrowIfClosed();
        foreach (var peer in _peers)
        {
            if (_progress[peer.Rank].Gone is { } reason && Missing(slot, peer) is { } missing)
                throw new ExchangeBrokenException($"Step {_step}: {peer.Name} {reason}. This worker was waiting for {missing}.");
        }
        if (_time.GetElapsedTime(_lastProgress) >= _timeout)
        {
            var silent = _peers.Select(peer => Missing(slot, peer) is { } missing ? $"{peer.Name}: {missing}" : null).OfType<string>();
            throw new ExchangeBrokenException(
                $"Step {_step}: nothing moved for {_timeout.TotalSeconds:0.#} s (ddp_timeout). Still missing: {string.Join("; ", silent.DefaultIfEmpty("room to send"))}.");
        }
        Monitor.Wait(_gate);
    }

    /// <summary>What this collective still lacks from a peer; null: nothing.</summary>
    private string? Missing(CollectiveSlot slot, PeerConnection peer)
    {
        if (slot.Totals[peer.Rank] is null)
            return _phase is ExchangePhase.Totals ? "its totals" : "its evaluation totals";
        if (_phase is not ExchangePhase.Totals)
            return null;
        if (_leaves.Any(leaf => leaf.Rank == peer.Rank && slot.AnyPartialMissing(leaf.Partial)))
            return "its share of the gradient (scatter)";
        return slot.AnyResultMissing(_layout.FirstFrame(peer.Rank), _layout.Frames(peer.Rank)) ? "its chunk of the finished sum (result)" : null;
    }

    private bool AnySendPending()
    {
        foreach (var peer in _progress)
        {
            if (peer.SendsPending > 0)
                return true;
        }
        return false;
    }

    private void Send(PeerConnection peer, in FrameHeader header, nint address, byte[]? payload = null)
    {
        ThrowIfClosed();
        if (_progress[peer.Rank].CannotSend)
            return;
        _progress[peer.Rank].SendsPending++;
        if (payload is null)
            peer.Send(header, address);
        else
            peer.Send(header, payload);
    }

    private void ThrowIfClosed()
    {
        if (_closed is not null)
            throw new ExchangeBrokenException($"Step {_step}: this worker has left the exchange of generation {_group.Identity.Generation}: {_closed}");
    }

    private FrameHeader Header(ExchangePhase phase, int chunk, LaneRange node, long offset, int bytes) =>
        new(_runKey, _group.Identity.Generation, _sequence, _step, phase, chunk, node, offset, bytes);

    private static nint At(nint values, long offset) => values + (nint)(offset * sizeof(float));

    private nint PartialAt(int partial, long offset) =>
        At(_received.Address, partial * _layout.ChunkLength(_group.Rank) + offset - _layout.ChunkStart(_group.Rank));

    private void WakeUp()
    {
        lock (_gate)
            Monitor.PulseAll(_gate);
    }

    private void Moved(bool wake)
    {
        _lastProgress = _time.GetTimestamp();
        if (wake)
            Monitor.PulseAll(_gate);
    }

    private CollectiveSlot? Judge(PeerConnection peer, in FrameHeader header)
    {
        switch (CollectiveWindow.Judge(header, _runKey, _group.Identity.Generation, _sequence, _inProgress))
        {
            case FrameVerdict.Take:
                return _slots[header.Sequence & 1];
            case FrameVerdict.Drop:
                return null;
            default:
                throw new InvalidFrameException(
                    $"a {header.Phase} of generation {header.Generation}, collective {header.Sequence}, step {header.Step} cannot come while this worker is at collective {_sequence}, step {_step}");
        }
    }

    private void CheckSameStep(CollectiveSlot slot, PeerConnection peer)
    {
        if (slot.Announced[peer.Rank] is { } announced && announced != (_step, _phase))
            throw new ExchangeBrokenException(
                $"Step {_step}: {peer.Name} has lost step with this worker: it is at step {announced.Step} ({announced.Phase}), this worker at step {_step} ({_phase}).");
    }

    nint IFrameSink.Place(PeerConnection peer, in FrameHeader header)
    {
        lock (_gate)
        {
            if (_closed is not null || Judge(peer, header) is not { } slot)
                return 0;
            var length = header.PayloadBytes / sizeof(float);
            var frame = header.PayloadBytes % sizeof(float) == 0 ? _layout.FrameAt(header.Chunk, header.Offset, length) : -1;
            if (header.Phase is ExchangePhase.GradientResult)
            {
                if (frame < 0 || header.Chunk != peer.Rank || header.Step != _step || _phase is not ExchangePhase.Totals)
                    throw new InvalidFrameException($"a result of step {header.Step} at {header.Offset} (+{length}) of chunk {header.Chunk} does not fit this exchange");
                return slot.HasResult(_layout.FirstFrame(peer.Rank) + frame) ? 0 : At(_result, header.Offset);
            }
            var partial = PartialOf(peer, header.Node);
            if (frame < 0 || header.Chunk != _group.Rank || partial < 0)
                throw new InvalidFrameException($"a sum of {header.Node} at {header.Offset} (+{length}) of chunk {header.Chunk} does not fit this exchange");
            return slot.HasPartial(frame, partial) ? 0 : PartialAt(partial, header.Offset);
        }
    }

    void IFrameSink.Arrived(PeerConnection peer, in FrameHeader header)
    {
        lock (_gate)
        {
            var slot = _slots[header.Sequence & 1];
            var frame = _layout.FrameAt(header.Chunk, header.Offset, header.PayloadBytes / sizeof(float));
            if (header.Phase is ExchangePhase.GradientResult)
                Moved(wake: slot.TakeResult(_layout.FirstFrame(peer.Rank) + frame));
            else
                Moved(wake: slot.TakePartial(frame, PartialOf(peer, header.Node)));
        }
    }

    void IFrameSink.Arrived(PeerConnection peer, in FrameHeader header, byte[] payload)
    {
        var (totals, stopRequested) = TotalsPayload.Read(payload, _group.Members[peer.Rank].Lanes);
        lock (_gate)
        {
            if (_closed is not null || Judge(peer, header) is not { } slot)
                return;
            if (header.Sequence == _sequence && _inProgress && (header.Step, header.Phase) != (_step, _phase))
                throw new InvalidFrameException($"it is at step {header.Step} ({header.Phase}), this worker at step {_step} ({_phase})");
            slot.TakeTotals(peer.Rank, totals, stopRequested, header.Step, header.Phase);
            Moved(wake: slot.TotalsMissing == 0);
        }
    }

    void IFrameSink.Sent(PeerConnection peer)
    {
        lock (_gate)
            Moved(wake: --_progress[peer.Rank].SendsPending == 0);
    }

    void IFrameSink.Lost(PeerConnection peer, string reason, bool sending)
    {
        lock (_gate)
        {
            ref var progress = ref _progress[peer.Rank];
            progress.Gone ??= reason;
            if (sending)
                (progress.CannotSend, progress.SendsPending) = (true, 0);
            Monitor.PulseAll(_gate);
        }
    }

    private int PartialOf(PeerConnection peer, LaneRange node)
    {
        foreach (var leaf in _leaves)
        {
            if (leaf.Node == node && leaf.Rank == peer.Rank)
                return leaf.Partial;
        }
        return -1;
    }
}
