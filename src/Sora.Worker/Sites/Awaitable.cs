namespace Sora.Worker.Sites;

/// <summary>Something that is there at times: whoever needs it waits for the next one.</summary>
internal sealed class Awaitable<T> where T : class
{
    private readonly Lock _lock = new();
    private TaskCompletionSource<T> _next = NewSource();

    public T? Current { get; private set; }

    /// <summary>It is there, or, null, no more.</summary>
    public void Set(T? value)
    {
        lock (_lock)
        {
            if (Current is not null)
                _next = NewSource();
            Current = value;
            if (value is not null)
                _next.SetResult(value);
        }
    }

    public async Task<T> GetAsync(CancellationToken cancellationToken)
    {
        Task<T> next;
        lock (_lock)
            next = _next.Task;
        return await next.WaitAsync(cancellationToken);
    }

    private static TaskCompletionSource<T> NewSource() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
