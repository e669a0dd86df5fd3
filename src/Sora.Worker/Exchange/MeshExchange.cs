using Microsoft.Extensions.Logging;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Wire;

namespace Sora.Worker.Exchange;

/// <summary>
/// The exchange over a full mesh of sockets: direct reduce-scatter and all-gather. The flat gradient is cut into one chunk a
/// worker. Every worker sends each chunk of its subtree sums to the chunk's owner; the owner takes them up the lane tree as
/// soon as a frame's sums are all there, and sends the finished frame to everyone. Two hops, 2(N-1)/N of the gradient out
/// and in. Bookkeeping travels beside it. The training thread folds; each connection has its own threads to send and receive.
/// Before the first collective the same connections carry the state to workers that do not have it.
/// </summary>
/// <remarks>
/// No memory is needed twice although peers may be one collective ahead: a peer sends sums of collective c+1 only after it
/// holds all results of c, so this worker has folded, by then, everything it received for c. And a result may land on the
/// very memory a subtree sum was sent from: it contains that sum, so the sum has left long ago. Likewise the state may be
/// served while this worker computes: its weights change only after a collective that needs the joiner's share.
/// </remarks>
internal sealed partial class MeshExchange : IGradientExchange
{
    /// <summary>Elements of a frame: small enough that sending, folding and receiving overlap, large enough that headers cost nothing.</summary>
    internal const int FrameLength = 128 * 1024;

    private readonly ExchangeGroup _group;
    private readonly ChunkLayout _layout;
    private readonly SubtreeLeaves _leaves;
    private readonly Collectives _collectives;
    private readonly MeshPeers _peers;
    private readonly StateTransfer _state;
    private readonly ILogger _logger;
    private nint _result;

    private MeshExchange(ExchangeGroup group, long parameters, IReadOnlyList<StateRegion> served, TimeSpan timeout, TimeProvider time, ILogger logger)
    {
        (_group, _logger) = (group, logger);
        _layout = new ChunkLayout(parameters, group.Members.Count, FrameLength);
        _leaves = new SubtreeLeaves(group, _layout);
        _collectives = new Collectives(group, _layout, _leaves);
        _peers = new MeshPeers(group, timeout, time);
        _state = new StateTransfer(_collectives, _peers, new StateRegions(served));
    }

    /// <summary>Connects the generation and makes its exchange.</summary>
    /// <param name="group">The generation.</param>
    /// <param name="listener">Where peers dial this worker; used by one generation after the other.</param>
    /// <param name="parameters">Elements of the flat gradient.</param>
    /// <param name="served">The state the generation begins with, if this worker holds it: peers may read it until the first collective ends.</param>
    /// <param name="timeout">How long connecting may take, and later, how long nothing at all may move while a collective is unfinished.</param>
    /// <param name="time">Clock.</param>
    /// <param name="logger">Log.</param>
    /// <param name="cancellationToken">Gives up connecting.</param>
    /// <exception cref="ExchangeBrokenException">A peer refuses, is gone, or cannot be reached in time.</exception>
    public static async Task<MeshExchange> ConnectAsync(
        ExchangeGroup group, ExchangeListener listener, long parameters, IReadOnlyList<StateRegion> served, TimeSpan timeout, TimeProvider time, ILogger logger,
        CancellationToken cancellationToken)
    {
        var exchange = new MeshExchange(group, parameters, served, timeout, time, logger);
        try
        {
            // Each connection works as soon as it stands: a peer may be done connecting, and fetch or send, while others are still missing here.
            var inbox = new MeshInbox(group, exchange._collectives, exchange._peers, exchange._state);
            await new MeshConnector(group, listener, exchange._peers, inbox, timeout, time, logger).ConnectAsync(cancellationToken);
            return exchange;
        }
        catch (Exception e)
        {
            exchange.Leave(e is OperationCanceledException ? $"it does not join generation {group.Identity.Generation} any more" : e.Message);
            exchange.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public LaneRange Lanes => _group.Self.Lanes;

    /// <summary>
    /// Takes over the state the generation begins with from the memory of peers, each of which gives a part. Once, and before
    /// the first collective. Blocks until every byte is there; if it throws, some may be, and none will be written any more.
    /// </summary>
    /// <param name="holders">Ranks that serve the state.</param>
    /// <param name="into">Where it goes; as many bytes as the holders serve, however they are cut.</param>
    /// <param name="cancellationToken">Gives up, and leaves the exchange.</param>
    /// <exception cref="ExchangeBrokenException">A holder that is still needed is gone or silent.</exception>
    /// <exception cref="SoraException">A holder's state has another size.</exception>
    public void FetchState(IReadOnlyList<int> holders, IReadOnlyList<StateRegion> into, CancellationToken cancellationToken)
    {
        try
        {
            _state.Fetch(_group, holders, new StateRegions(into), cancellationToken);
        }
        catch (Exception e) when (e is ExchangeBrokenException or SoraException or OperationCanceledException)
        {
            Leave(e is OperationCanceledException ? "it was told to give up taking over the state" : e.Message);
            throw;
        }
    }

    /// <inheritdoc/>
    public StepTotals AllReduce(long step, ReadOnlySpan<SubtreeSum> subtrees, ReadOnlySpan<LaneTotals> totals, bool stopRequested, nint result, long length)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(length, _layout.Length);
        _leaves.Check(subtrees);
        try
        {
            _result = result;
            LogExchanging(step);
            Begin(step, ExchangePhase.Totals, totals, stopRequested);
            Scatter(subtrees);
            for (var folded = 0; folded < _layout.Frames(_group.Rank); folded++)
                FoldAndSend(WaitForReadyFrame(), subtrees);
            var ended = WaitForEnd();
            LogExchanged(step);
            return ended;
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
            _result = 0;
            Begin(step, ExchangePhase.EvaluationTotals, totals, stopRequested: false);
            return WaitForEnd();
        }
        catch (ExchangeBrokenException e)
        {
            Leave(e.Message);
            throw;
        }
    }

    /// <inheritdoc/>
    public void ThrowIfBroken()
    {
        if (!_peers.AnyTrouble)
            return;
        try
        {
            lock (_peers.Gate)
            {
                _peers.ThrowIfClosed(_collectives);
                // What has begun may still end without a peer that has sent all it had to; what has not needs every one.
                if (_collectives.InProgress)
                    _peers.ThrowIfGone(_collectives);
                else
                    _peers.ThrowIfAnyGone();
            }
        }
        catch (ExchangeBrokenException e)
        {
            Leave(e.Message);
            throw;
        }
    }

    /// <summary>Ids of peers without which the collective in progress cannot go on, when nothing has moved in it for so long. From any thread.</summary>
    public IReadOnlyList<string> WaitsFor(TimeSpan atLeast)
    {
        lock (_peers.Gate)
            return _collectives.InProgress ? _peers.WaitsFor(_collectives, atLeast) : [];
    }

    /// <summary>Tells the peers why this worker leaves, and closes. After it returns no thread touches memory of gradients or state any more.</summary>
    public void Leave(string reason)
    {
        FrameHeader bye;
        lock (_peers.Gate)
            bye = _collectives.Header(ExchangePhase.Bye, 0, default, 0, 0);
        _peers.Leave(bye, reason);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Leave("its work is done");
        _peers.Dispose();
        _leaves.Dispose();
    }

    private void Begin(long step, ExchangePhase phase, ReadOnlySpan<LaneTotals> totals, bool stopRequested)
    {
        if (totals.Length != Lanes.Count)
            throw new ArgumentException($"Lanes {Lanes} have {totals.Length} totals.", nameof(totals));
        var payload = TotalsPayload.Write(totals, stopRequested);
        lock (_peers.Gate)
        {
            _peers.ThrowIfClosed(_collectives);
            _peers.Moved(wake: false);
            if (_collectives.Begin(step, phase, totals.ToArray(), stopRequested, _result) is { } elsewhere)
                throw new ExchangeBrokenException($"Step {step}: {_peers.Describe(elsewhere.Rank)} {elsewhere.Message}.");
            SendToAll(_collectives.Header(phase, 0, default, 0, payload.Length), 0, payload);
        }
    }

    private void Scatter(ReadOnlySpan<SubtreeSum> subtrees)
    {
        lock (_peers.Gate)
        {
            _peers.ThrowIfClosed(_collectives);
            for (var rank = 0; rank < _group.Members.Count; rank++)
            {
                for (var frame = 0; rank != _group.Rank && frame < _layout.Frames(rank); frame++)
                {
                    var (offset, length) = _layout.Frame(rank, frame);
                    foreach (var subtree in subtrees)
                        _peers.Send(rank, _collectives.Header(ExchangePhase.GradientScatter, rank, subtree.Node, offset, length * sizeof(float)), ChunkLayout.At(subtree.Values, offset));
                }
            }
        }
    }

    private int WaitForReadyFrame()
    {
        lock (_peers.Gate)
        {
            int frame;
            while (!_collectives.Current.TryTakeReadyFrame(out frame))
                _peers.Wait(_collectives);
            return frame;
        }
    }

    private void FoldAndSend(int frame, ReadOnlySpan<SubtreeSum> subtrees)
    {
        _leaves.Fold(frame, subtrees, _result);
        var (offset, length) = _layout.Frame(_group.Rank, frame);
        lock (_peers.Gate)
            SendToAll(_collectives.Header(ExchangePhase.GradientResult, _group.Rank, default, offset, length * sizeof(float)), ChunkLayout.At(_result, offset));
    }

    private StepTotals WaitForEnd()
    {
        lock (_peers.Gate)
        {
            while (!_collectives.Complete || _peers.AnySendPending())
                _peers.Wait(_collectives);
            return _collectives.End();
        }
    }

    private void SendToAll(in FrameHeader header, nint address, byte[]? payload = null)
    {
        _peers.ThrowIfClosed(_collectives);
        for (var rank = 0; rank < _group.Members.Count; rank++)
        {
            if (rank != _group.Rank)
                _peers.Send(rank, header, address, payload);
        }
    }

    [LoggerMessage(2110, LogLevel.Debug, "Step {Step}: computed, the exchange begins")]
    private partial void LogExchanging(long step);

    [LoggerMessage(2111, LogLevel.Debug, "Step {Step}: exchanged, the commit begins")]
    private partial void LogExchanged(long step);
}
