using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Threading.Channels;
using Sora.Protocol.Blocks;
using Sora.Protocol.Jobs;

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
        var started = _time.GetTimestamp();
        // The training thread has nothing else to do, and it must not leave its thread, which owns the tensors.
        var content = Task.Run(() => WaitForAsync(piece)).GetAwaiter().GetResult();
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

    private async Task<ReadOnlyMemory<byte>> WaitForAsync(string piece)
    {
        if (_underWay.TryGetValue(piece, out var coming))
        {
            // Whatever went wrong in the background is tried again here, where the error has somebody to reach.
            await Task.WhenAny(coming.Task);
            if (coming.Task.IsCompletedSuccessfully) return await coming.Task;
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

    /// <summary>Fetches pieces into the cache; what arrives damaged or not at all is asked for once more.</summary>
    private async Task FetchAsync(IReadOnlyList<string> pieces, Action<string, ReadOnlyMemory<byte>> arrived)
    {
        var missing = new HashSet<string>(pieces);
        for (var attempt = 0; attempt < 2 && missing.Count > 0; attempt++)
        {
            await foreach (var (piece, content) in _fetcher.FetchAsync([.. missing], _stop.Token))
            {
                if (!missing.Contains(piece) || Convert.ToHexStringLower(SHA256.HashData(content.Span)) != piece) continue;
                missing.Remove(piece);
                _cache.Add(piece, content.Span);
                arrived(piece, content);
            }
        }
        if (missing.Count > 0)
            throw new SoraException(
                $"Piece {missing.First()} of the corpus did not arrive whole from the coordinator, twice. " +
                "Check the corpus folder there with 'sora data show --verify FOLDER'.", ExitCode.InvalidInput);
    }
}
