using Sora.Protocol.Api;

namespace Sora.Worker.Session;

/// <summary>The stream between a worker and its coordinator.</summary>
internal interface ICoordinatorStream : IAsyncDisposable
{
    /// <summary>Connects.</summary>
    /// <exception cref="CoordinatorLostException">No coordinator answers.</exception>
    Task OpenAsync(CancellationToken cancellationToken);

    /// <summary>Queues a message. Never blocks; dropped when the stream is broken, which <see cref="ReceiveAsync"/> tells.</summary>
    void Send(FromWorker message);

    /// <summary>What the coordinator says, until it closes the stream.</summary>
    /// <exception cref="CoordinatorLostException">The stream broke.</exception>
    IAsyncEnumerable<FromCoordinator> ReceiveAsync(CancellationToken cancellationToken);

    /// <summary>Sends what is queued and closes this end.</summary>
    Task CompleteAsync(CancellationToken cancellationToken);
}

/// <summary>The coordinator cannot be reached, or does not want to be.</summary>
internal sealed class CoordinatorLostException(string message, bool refused, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>It answered, and said no.</summary>
    public bool Refused => refused;
}
