using System.Collections.Concurrent;
using Microsoft.Extensions.Time.Testing;

namespace Sora.Worker.Tests.Exchange;

/// <summary>
/// A clock that a test moves, and that tells which thread has looked at it: a thread of a connection does so when it has sent or taken in
/// a frame.
/// </summary>
internal sealed class ThreadClock : FakeTimeProvider
{
    private readonly ConcurrentDictionary<string, SemaphoreSlim> _looks = new(StringComparer.Ordinal);

    public override long GetTimestamp()
    {
        var now = base.GetTimestamp();
        Looks(Thread.CurrentThread.Name ?? "").Release();
        return now;
    }

    /// <summary>Waits until a thread has looked so many times since it was last asked about.</summary>
    public async Task LooksAsync(string thread, int times)
    {
        for (; times > 0; times--)
            await Looks(thread).WaitAsync(TestContext.Current.CancellationToken);
    }

    private SemaphoreSlim Looks(string thread) => _looks.GetOrAdd(thread, _ => new SemaphoreSlim(0));
}
