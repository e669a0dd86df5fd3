using System.Collections.Concurrent;
using Sora.Model.Native;

namespace Sora.Worker.Work;

/// <summary>
/// The one thread that owns every tensor: libtorch's dispose scopes, gradient modes and random generators belong to threads.
/// Work is done in the order it is given; what it throws goes to whoever gave it, never to the process.
/// </summary>
internal sealed class TrainingThread : IDisposable
{
    private const int StackBytes = 16 << 20;
    private readonly BlockingCollection<Action> _work = [];
    private readonly Thread _thread;

    public TrainingThread()
    {
        _thread = new Thread(Run, StackBytes) { Name = "training", IsBackground = true };
        _thread.Start();
    }

    public Task<T> RunAsync<T>(Func<T> work)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        _work.Add(() =>
        {
            try
            {
                done.SetResult(work());
            }
            catch (Exception e)
            {
                done.SetException(MemoryErrors.Explain(e) ?? DeviceErrors.Explain(e) ?? e);
            }
        });
        return done.Task;
    }

    public void Dispose() => _work.CompleteAdding();

    private void Run()
    {
        foreach (var work in _work.GetConsumingEnumerable())
            work();
    }
}
