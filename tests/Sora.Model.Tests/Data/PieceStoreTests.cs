using System.Security.Cryptography;
using Microsoft.Extensions.Time.Testing;
using Sora.Model.Data;
using Sora.Protocol.Blocks;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Data;

public class PieceStoreTests
{
    private static byte[] Content(int number) => [.. Enumerable.Repeat((byte)number, 1000)];

    private static string Name(int number) => Convert.ToHexStringLower(SHA256.HashData(Content(number)));

    [Fact]
    public void Read_PieceDamagedOnce_IsFetchedAgain()
    {
        using var folder = new TestFolder();
        var fetcher = new ScriptedFetcher(attempt => attempt == 0 ? new byte[1000] : Content(1));
        using var store = Store(folder, fetcher);
        var bytes = new byte[10];
        store.Read(Name(1), 5, bytes);
        Assert.Equal(Content(1)[5..15], bytes);
        Assert.Equal(2, fetcher.Attempts);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Read_PieceDamagedOrMissingTwice_NamesIt(bool arrives)
    {
        using var folder = new TestFolder();
        using var store = Store(folder, new ScriptedFetcher(_ => arrives ? new byte[1000] : null));
        var error = Assert.Throws<SoraException>(() => store.Read(Name(1), 0, new byte[10]));
        Assert.Contains(Name(1), error.Message);
        Assert.Empty(Directory.GetFiles(folder.Path, "*", SearchOption.AllDirectories));
    }

    [Fact]
    public async Task Read_WhileThePieceIsOnItsWay_WaitsForItAndDoesNotAskAgain()
    {
        using var folder = new TestFolder();
        var gate = new TaskCompletionSource();
        var fetcher = new ScriptedFetcher(_ => Content(1)) { Gate = gate.Task };
        using var store = Store(folder, fetcher);
        store.Announce([Name(1)]);
        await fetcher.Started.Task.WaitAsync(TestContext.Current.CancellationToken);
        var bytes = new byte[10];
        var reading = Task.Run(() => store.Read(Name(1), 0, bytes), TestContext.Current.CancellationToken);
        gate.SetResult();
        await reading;
        Assert.Equal(Content(1)[..10], bytes);
        Assert.Equal(1, fetcher.Attempts);
    }

    [Fact]
    public async Task Announce_FetcherFails_TheReaderTriesAgainItself()
    {
        using var folder = new TestFolder();
        var fetcher = new ScriptedFetcher(attempt => attempt == 0 ? throw new IOException("connection lost") : Content(1));
        using var store = Store(folder, fetcher);
        store.Announce([Name(1)]);
        await fetcher.Started.Task.WaitAsync(TestContext.Current.CancellationToken);
        var bytes = new byte[10];
        store.Read(Name(1), 0, bytes);
        Assert.Equal(Content(1)[..10], bytes);
    }

    [Fact]
    public async Task Dispose_WhileFetching_StopsTheFetcher()
    {
        using var folder = new TestFolder();
        var fetcher = new ScriptedFetcher(_ => Content(1)) { Gate = new TaskCompletionSource().Task };
        var store = Store(folder, fetcher);
        store.Announce([Name(1)]);
        await fetcher.Started.Task.WaitAsync(TestContext.Current.CancellationToken);
        await Task.Run(store.Dispose, TestContext.Current.CancellationToken).WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
    }

    [Fact]
    public void Cache_OverItsBound_DropsTheLeastRecentlyUsed()
    {
        using var folder = new TestFolder();
        var time = new FakeTimeProvider(DateTimeOffset.UnixEpoch.AddYears(50));
        var cache = new PieceCache(folder["pieces"], 10_000, time);
        for (var number = 0; number < 10; number++)
        {
            cache.Add(Name(number), Content(number));
            time.Advance(TimeSpan.FromMinutes(2));
        }
        Assert.True(cache.TryRead(Name(0), 0, new byte[1])); // used again: no longer the oldest
        time.Advance(TimeSpan.FromMinutes(2));
        cache.Add(Name(10), Content(10));

        Assert.InRange(cache.Bytes, 1, 10_000);
        Assert.True(cache.Contains(Name(0)));
        Assert.False(cache.Contains(Name(1)));
        Assert.True(cache.Contains(Name(10)));
    }

    [Fact]
    public void Cache_SecondProcess_KeepsTheBoundAndTheOrderOfTheFirst()
    {
        using var folder = new TestFolder();
        var time = new FakeTimeProvider(DateTimeOffset.UnixEpoch.AddYears(50));
        var first = new PieceCache(folder["pieces"], 1 << 20, time);
        for (var number = 0; number < 20; number++)
        {
            first.Add(Name(number), Content(number));
            time.Advance(TimeSpan.FromMinutes(2));
        }
        var second = new PieceCache(folder["pieces"], 10_000, time);
        Assert.Equal(9_000, second.Bytes);
        Assert.False(first.TryRead(Name(0), 0, new byte[1]));
        Assert.True(first.TryRead(Name(19), 999, new byte[1]));
    }

    [Fact]
    public void Cache_SharedByManyUnderATightBound_NeverGivesWrongBytes()
    {
        using var folder = new TestFolder();
        var caches = Enumerable.Range(0, 4).Select(_ => new PieceCache(folder["pieces"], 8_000, TimeProvider.System)).ToList();
        Parallel.For(0, 400, i =>
        {
            var (cache, number, bytes) = (caches[i % 4], i * 7 % 40, new byte[3]);
            if (!cache.TryRead(Name(number), 10, bytes)) cache.Add(Name(number), Content(number));
            else Assert.Equal(Content(number)[..3], bytes);
        });
        Assert.Empty(Directory.GetFiles(folder.Path, "*.tmp", SearchOption.AllDirectories));
        Assert.InRange(new PieceCache(folder["pieces"], 8_000, TimeProvider.System).Bytes, 1, 8_000);
    }

    [Fact]
    public void Cache_PieceDamagedOnDisk_IsDropped()
    {
        using var folder = new TestFolder();
        new PieceCache(folder["pieces"], 1 << 20, TimeProvider.System).Add(Name(1), Content(1));
        var path = Directory.GetFiles(folder.Path, Name(1), SearchOption.AllDirectories).Single();
        File.WriteAllBytes(path, Content(2));

        Assert.False(new PieceCache(folder["pieces"], 1 << 20, TimeProvider.System).TryRead(Name(1), 0, new byte[1]));
        Assert.False(File.Exists(path));
    }

    [Fact]
    public void Cache_LeftoversOfAKilledProcess_AreSweptAwayLater()
    {
        using var folder = new TestFolder();
        var time = new FakeTimeProvider(DateTimeOffset.UtcNow);
        var leftover = folder.File("pieces/ab/abc.123.tmp", "half");
        _ = new PieceCache(folder["pieces"], 1 << 20, time);
        Assert.True(File.Exists(leftover)); // it may belong to a process which is still writing
        time.Advance(TimeSpan.FromHours(2));
        _ = new PieceCache(folder["pieces"], 1 << 20, time);
        Assert.False(File.Exists(leftover));
    }

    [Fact]
    public void Cache_FolderThatCannotBe_SaysSo()
    {
        using var folder = new TestFolder();
        var error = Assert.Throws<SoraException>(() => new PieceCache(Path.Combine(folder.File("file", ""), "pieces"), 1, TimeProvider.System));
        Assert.Contains("file", error.Message);
    }

    private static PieceStore Store(TestFolder folder, IPieceFetcher fetcher) =>
        new(fetcher, new PieceCache(folder["pieces"], 1 << 20, TimeProvider.System), TimeProvider.System);

    private sealed class ScriptedFetcher(Func<int, byte[]?> deliver) : IPieceFetcher
    {
        private int _attempts;

        public int Attempts => _attempts;

        public Task Gate { get; init; } = Task.CompletedTask;

        public TaskCompletionSource Started { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public async IAsyncEnumerable<(string Sha256, ReadOnlyMemory<byte> Content)> FetchAsync(
            IReadOnlyList<string> sha256, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
        {
            var attempt = Interlocked.Increment(ref _attempts) - 1;
            Started.TrySetResult();
            await Gate.WaitAsync(cancellationToken);
            foreach (var piece in sha256)
                if (deliver(attempt) is { } content) yield return (piece, content);
        }
    }
}
