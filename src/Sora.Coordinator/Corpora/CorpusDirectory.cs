using System.Collections.Concurrent;
using Sora.Protocol.Blocks;

namespace Sora.Coordinator.Corpora;

/// <summary>
/// Where this coordinator gets the corpora of the runs that go on, here or on another one: from whoever submitted the run
/// here, or opened from the folder the run names. Lock-free; written by the host and by the pool of workers.
/// </summary>
internal sealed class CorpusDirectory(Func<string, string, IPieceSource?>? open)
{
    private readonly ConcurrentDictionary<string, Corpus> _runs = new(StringComparer.Ordinal);
    private volatile TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The submitter of a run brings its corpus.</summary>
    public void Provide(string run, string hash, IPieceSource pieces)
    {
        _runs[run] = new Corpus(hash, new Lazy<IPieceSource?>(pieces));
        Changed();
    }

    /// <summary>A run goes on somewhere; its corpus is opened when a worker asks for it.</summary>
    public void Announce(string run, string hash, string folder)
    {
        if (_runs.ContainsKey(run))
            return;
        if (_runs.TryAdd(run, new Corpus(hash, new Lazy<IPieceSource?>(() => open?.Invoke(folder, hash), LazyThreadSafetyMode.PublicationOnly))))
            Changed();
    }

    /// <summary>A run is over.</summary>
    public void Withdraw(string run) => _runs.TryRemove(run, out _);

    /// <summary>
    /// Finds a corpus; null when no run has it. A worker may ask before the run it works for is known here: it dialled this
    /// coordinator while another one took the run over.
    /// </summary>
    public async Task<IPieceSource?> FindAsync(string hash, TimeSpan patience, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(patience);
        while (true)
        {
            var changed = _changed.Task;
            if (_runs.Values.Where(corpus => corpus.Hash == hash).Select(corpus => corpus.Pieces.Value).FirstOrDefault(pieces => pieces is not null) is { } found)
                return found;
            await changed.WaitAsync(limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            cancellationToken.ThrowIfCancellationRequested();
            if (limit.IsCancellationRequested)
                return null;
        }
    }

    private void Changed() => Interlocked.Exchange(ref _changed, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();

    private sealed record Corpus(string Hash, Lazy<IPieceSource?> Pieces);
}
