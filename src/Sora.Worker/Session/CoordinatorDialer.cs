using Grpc.Core;
using Sora.Protocol.Jobs;

namespace Sora.Worker.Session;

/// <summary>Dials coordinators over gRPC, and lends the connection that is up to other calls.</summary>
/// <param name="coordinators">Where they listen.</param>
/// <param name="token">What they want to see; null: nothing.</param>
/// <param name="connectTimeout">How long one may take to answer, at most.</param>
/// <param name="time">Clock.</param>
internal sealed class CoordinatorDialer(IReadOnlyList<Uri> coordinators, string? token, TimeSpan connectTimeout, TimeProvider time) : ICoordinatorDialer, IDisposable
{
    private static readonly TimeSpan DialTime = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan PauseTime = TimeSpan.FromSeconds(1);
    private readonly CancellationTokenSource _over = new();
    private volatile CoordinatorClient? _current;

    public IReadOnlyList<string> Coordinators { get; } = [.. coordinators.Select(address => address.ToString())];

    public async Task<ICoordinatorStream> DialAsync(int coordinator, CancellationToken cancellationToken)
    {
        var client = new CoordinatorClient(coordinators[coordinator], token);
        try
        {
            await client.ConnectAsync(DialTime < connectTimeout ? DialTime : connectTimeout, time, cancellationToken);
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
            await Task.Delay(PauseTime, time, either.Token);
        while (true)
        {
            if (_current is { IsClosed: false } client)
                return client;
            await Task.Delay(PauseTime, time, either.Token);
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
