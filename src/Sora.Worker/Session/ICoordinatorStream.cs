using Sora.Protocol.Api;

namespace Sora.Worker.Session;

/// <summary>An open stream between a worker and a coordinator.</summary>
internal interface ICoordinatorStream : IAsyncDisposable
{
    /// <summary>Queues a message. Never blocks; dropped when the stream is broken, which <see cref="ReceiveAsync"/> tells.</summary>
    void Send(FromWorker message);

    /// <summary>What the coordinator says, until it closes the stream.</summary>
    /// <exception cref="CoordinatorLostException">The stream broke.</exception>
    IAsyncEnumerable<FromCoordinator> ReceiveAsync(CancellationToken cancellationToken);

    /// <summary>Breaks the stream, because what came on it is not to be trusted: <see cref="ReceiveAsync"/> ends with the reason.</summary>
    void Break(string reason);

    /// <summary>The connection the stream is on, for calls beside it.</summary>
    CoordinatorClient Client { get; }

    /// <summary>Sends what is queued and closes this end.</summary>
    Task CompleteAsync(CancellationToken cancellationToken);
}

/// <summary>Opens streams to the coordinators of a list.</summary>
internal interface ICoordinatorDialer
{
    /// <summary>Their addresses, for people.</summary>
    IReadOnlyList<string> Coordinators { get; }

    /// <summary>Tries one of them, once.</summary>
    /// <param name="coordinator">Its place in the list.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="CoordinatorLostException">It does not answer.</exception>
    Task<ICoordinatorStream> DialAsync(int coordinator, CancellationToken cancellationToken);
}

/// <summary>The coordinator cannot be reached, or does not want to be.</summary>
internal sealed class CoordinatorLostException(string message, bool refused, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>It answered, and said no.</summary>
    public bool Refused => refused;
}
