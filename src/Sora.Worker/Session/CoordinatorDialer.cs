using Grpc.Core;
using Sora.Protocol.Jobs;

namespace Sora.Worker.Session;

/// <summary>Dials the coordinators of the options over gRPC, and lends the connection that is up to other calls.</summary>
internal sealed class CoordinatorDialer(WorkerOptions options) : ICoordinatorDialer, IDisposable
{
    private static readonly TimeSpan DialTime = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan PauseTime = TimeSpan.FromSeconds(1);
    private readonly CancellationTokenSource _over = new();
    private volatile CoordinatorClient? _current;

    public IReadOnlyList<string> Coordinators { get; } = [.. options.Coordinators.Select(address => address.ToString())];

    public async Task<ICoordinatorStream> DialAsync(int coordinator, CancellationToken cancellationToken)
    {
        var client = new CoordinatorClient(options.Coordinators[coordinator], options.Token);
        try
        {
            await client.ConnectAsync(DialTime < options.ConnectTimeout ? DialTime : options.ConnectTimeout, options.Time, cancellationToken);
            var stream = new CoordinatorStream(client);
            _current = client;
            return stream;
        }
        catch
        {
            client.Dispose();
            throw;
        }
    }

    /// <summary>The connection that is up. While there is none this waits: coordinators come back, and training can wait for its data.</summary>
    /// <param name="failed">One that has just failed; null: none has. It is given a moment.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public async Task<CoordinatorClient> ClientAsync(CoordinatorClient? failed, CancellationToken cancellationToken)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _over.Token);
        if (failed is not null)
            await Task.Delay(PauseTime, options.Time, either.Token);
        while (true)
        {
            if (_current is { IsClosed: false } client)
                return client;
            await Task.Delay(PauseTime, options.Time, either.Token);
        }
    }

    /// <summary>Whether a call failed only because its connection is gone, which another connection mends.</summary>
    public static bool IsPassing(CoordinatorClient client, Exception e) => e switch
    {
        ObjectDisposedException => true,
        // Closing a connection cancels its calls.
        RpcException { StatusCode: StatusCode.Cancelled } => client.IsClosed,
        RpcException { StatusCode: StatusCode.Unavailable } => true,
        _ => false,
    };

    /// <summary>What to tell of a call that failed for good.</summary>
    public static SoraException Failure(string what, CoordinatorClient client, RpcException e) => new($"{what}: {client.Explain(e).Message}", ExitCode.Failure, e);

    public void Dispose() => _over.Cancel();
}
