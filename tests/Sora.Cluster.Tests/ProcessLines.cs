namespace Sora.Cluster.Tests;

/// <summary>What a process has written so far, line by line.</summary>
internal sealed class ProcessLines
{
    private readonly List<string> _lines = [];
    private TaskCompletionSource _arrived = NewSignal();

    public int Count
    {
        get
        {
            lock (_lines)
                return _lines.Count;
        }
    }

    public IReadOnlyList<string> All
    {
        get
        {
            lock (_lines)
                return [.. _lines];
        }
    }

    public void Add(string line)
    {
        lock (_lines)
        {
            _lines.Add(line);
            _arrived.SetResult();
            _arrived = NewSignal();
        }
    }

    /// <summary>The first line, after so many, of which something can be made (lines count from 1); null when the writer has ended without one.</summary>
    public async Task<T?> FirstAsync<T>(Func<int, string, T?> read, int after, Task ended) where T : class
    {
        while (true)
        {
            Task next;
            lock (_lines)
            {
                for (; after < _lines.Count; after++)
                {
                    if (read(after + 1, _lines[after]) is { } found)
                        return found;
                }
                next = _arrived.Task;
            }
            await Task.WhenAny(next, ended);
            if (!next.IsCompleted)
            {
                await ended; // cancelled, or truly over
                return null;
            }
        }
    }

    // What waits for a line may be about to kill: nobody else's turn first.
    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
