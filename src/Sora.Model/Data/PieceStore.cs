using System.Collections.Concurrent;
using System.Threading.Channels;
using Sora.Protocol.Blocks;

namespace Sora.Model.Data;

/// <summary>
/// Pieces from the coordinator: verified against their hash, kept in a <see cref="PieceCache"/>, fetched ahead in the background for
/// what was announced. A reader which comes too early waits, and the time is counted.
/// </summary>
internal sealed class PieceStore : IDisposable
{
    // One request: large enough to fill a connection, small enough that a newer announcement is soon heard.
    private const int PiecesPerRequest = 16;

    private readonly IPieceFetcher _fetcher;
    private readonly PieceCache _cache;
    private readonly TimeProvider _time;
    private readonly ConcurrentDictionary<string, TaskCompletionSource<ReadOnlyMemory<byte>>> _underWay = new();
    private readonly Channel<IEnumerable<string>> _announced =
        Channel.CreateBounded<IEnumerable<string>>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropOldest, SingleReader = true });
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _fetchingAhead;
    private long _waitTicks;

    public PieceStore(IPieceFetcher fetcher, PieceCache cache, TimeProvider time)
    {
        _fetcher = fetcher;
        _cache = cache;
        _time = time;
        _fetchingAhead = Task.Run(FetchAheadAsync);
    }

    public double WaitSeconds => TimeSpan.FromTicks(Interlocked.Read(ref _waitTicks)).TotalSeconds;

    public void Announce(IEnumerable<string> pieces) => _announced.Writer.TryWrite(pieces);

    public void Read(string piece, int offset, Span<byte> bytes)
    {
        if (_cache.TryRead(piece, offset, bytes)) return;
        var coming = _underWay.GetValueOrDefault(piece)?.Task;
        if (coming is null && _cache.TryRead(piece, offset, bytes)) return; // it arrived between the two looks

        var started = _time.GetTimestamp();
        // The training thread has nothing else to do, and it must not leave its thread, which owns the tensors.
        var content = Task.Run(() => WaitForAsync(piece, coming)).GetAwaiter().GetResult();
        Interlocked.Add(ref _waitTicks, _time.GetElapsedTime(started).Ticks);
        content.Span.Slice(offset, bytes.Length).CopyTo(bytes);
    }

    public void Dispose()
    {
        _announced.Writer.Complete();
        _stop.Cancel();
        _fetchingAhead.GetAwaiter().GetResult();
        _stop.Dispose();
    }

    private async Task<ReadOnlyMemory<byte>> WaitForAsync(string piece, Task<ReadOnlyMemory<byte>>? coming)
    {
        if (coming is not null)
        {
            // Whatever went wrong in the background is tried again here, where the error has somebody to reach.
            await Task.WhenAny(coming);
            if (coming.IsCompletedSuccessfully) return await coming;
        }
        var arrived = ReadOnlyMemory<byte>.Empty;
        await FetchAsync([piece], (_, content) => arrived = content);
        return arrived;
    }

    private async Task FetchAheadAsync()
    {
        await foreach (var pieces in _announced.Reader.ReadAllAsync())
        {
            foreach (var request in pieces.Distinct().Where(piece => !_cache.Contains(piece)).Chunk(PiecesPerRequest))
            {
                if (_stop.IsCancellationRequested || _announced.Reader.Count > 0) break;
                await FetchInBackgroundAsync(request);
            }
        }
    }

    private async Task FetchInBackgroundAsync(string[] pieces)
    {
        foreach (var piece in pieces) _underWay[piece] = new(TaskCreationOptions.RunContinuationsAsynchronously);
        try
        {
            await FetchAsync(pieces, (piece, content) => _underWay[piece].TrySetResult(content));
        }
        catch (Exception e) // kept for the reader of the piece, who tries once more and reports
        {
            foreach (var piece in pieces)
            {
                _underWay[piece].TrySetException(e);
                _ = _underWay[piece].Task.Exception; // observed: nobody may ever come to read this piece
            }
        }
        finally
        {
            foreach (var piece in pieces) _underWay.TryRemove(piece, out _);
        }
    }

    private Task FetchAsync(IReadOnlyList<string> pieces, Action<string, ReadOnlyMemory<byte>> arrived) =>
        VerifiedPieces.FetchAsync(_fetcher, pieces, (piece, content) =>
        {
            _cache.Add(piece, content.Span);
            arrived(piece, content);
        }, _stop.Token);
}
