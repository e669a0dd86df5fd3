using System.Net;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Wire;
using Sora.Worker.Exchange;

namespace Sora.Worker.Tests.Exchange;

/// <summary>All workers of a generation in this process, connected over real sockets.</summary>
internal sealed class Mesh : IDisposable
{
    private static readonly byte[] Secret = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sora-");
    private readonly List<ExchangeListener> _listeners = [];

    public Mesh(int workers, int lanes, bool tcp = false)
    {
        for (var rank = 0; rank < workers; rank++)
        {
            _listeners.Add(tcp
                ? new ExchangeListener(null, IPAddress.Loopback)
                : new ExchangeListener(Path.Combine(_folder.FullName, $"{rank}.sock"), null));
        }
        Members = [.. Enumerable.Range(0, workers).Select(rank =>
            new ExchangeMember($"worker-{rank}", LaneRange.OfWorker(rank, workers, lanes), _listeners[rank].Endpoints))];
    }

    public IReadOnlyList<ExchangeMember> Members { get; }

    public IReadOnlyList<ExchangeListener> Listeners => _listeners;

    public ExchangeGroup Group(int rank, long generation = 1, byte[]? secret = null) =>
        new(new ExchangeIdentity("run", generation, Members.Count, rank, secret ?? Secret), Members);

    public Task<MeshExchange> ConnectAsync(
        int rank, long parameters, ExchangeGroup? group = null, TimeProvider? time = null, TimeSpan? timeout = null, StateRegion[]? served = null,
        ILogger? logger = null, CancellationToken? cancellation = null) =>
        MeshExchange.ConnectAsync(group ?? Group(rank), _listeners[rank], parameters, served ?? [], timeout ?? TimeSpan.FromSeconds(30),
            time ?? TimeProvider.System, logger ?? NullLogger.Instance, cancellation ?? TestContext.Current.CancellationToken);

    public Task<MeshExchange[]> ConnectAllAsync(long parameters, TimeProvider? time = null, TimeSpan? timeout = null, Func<int, StateRegion[]>? served = null) =>
        Task.WhenAll(Enumerable.Range(0, Members.Count).Select(rank => ConnectAsync(rank, parameters, time: time, timeout: timeout, served: served?.Invoke(rank))));

    /// <summary>Runs a delegate on a thread of its own, as the training thread is.</summary>
    public static Task<T> OnThread<T>(Func<T> work) =>
        Task.Factory.StartNew(work, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    /// <summary>Runs one delegate a worker.</summary>
    public static Task<T[]> OnThreads<T>(int workers, Func<int, T> work) => Task.WhenAll(Enumerable.Range(0, workers).Select(rank => OnThread(() => work(rank))));

    public void Dispose()
    {
        foreach (var listener in _listeners)
            listener.Dispose();
        _folder.Delete(recursive: true);
    }
}
