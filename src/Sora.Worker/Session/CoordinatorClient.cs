using System.Net.Sockets;
using Grpc.Core;
using Grpc.Net.Client;
using Sora.Protocol.Api;

namespace Sora.Worker.Session;

/// <summary>One connection to one coordinator, for the session's stream and for the pieces of the corpus. A new dial makes a new one.</summary>
internal sealed class CoordinatorClient : IDisposable
{
    // A manifest lists the hash of every piece of the corpus.
    private const int MaxMessageBytes = 256 << 20;
    private readonly Uri _address;
    private readonly GrpcChannel _channel;

    /// <param name="address">Where it listens.</param>
    /// <param name="token">What it wants to see; null: nothing.</param>
    public CoordinatorClient(Uri address, string? token)
    {
        _address = address;
        _channel = GrpcChannel.ForAddress(address, new GrpcChannelOptions
        {
            MaxReceiveMessageSize = MaxMessageBytes,
            HttpHandler = new SocketsHttpHandler
            {
                // Pings tell a coordinator that vanished without a word from one that has nothing to say.
                KeepAlivePingDelay = TimeSpan.FromSeconds(4),
                KeepAlivePingTimeout = TimeSpan.FromSeconds(4),
                PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
                UseProxy = false,
            },
            DisposeHttpClient = true,
        });
        Gateway = new WorkerGateway.WorkerGatewayClient(_channel);
        Headers = [];
        if (token is not null)
            Headers.Add("authorization", "Bearer " + token);
    }

    public WorkerGateway.WorkerGatewayClient Gateway { get; }

    public Metadata Headers { get; }

    public bool IsClosed { get; private set; }

    /// <summary>Connects, or finds at once that nobody listens there: when to try again is not the channel's business.</summary>
    /// <exception cref="CoordinatorLostException">It does not answer, or not in time.</exception>
    public async Task ConnectAsync(TimeSpan timeout, TimeProvider time, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var timer = time.CreateTimer(_ => limit.Cancel(), null, timeout, Timeout.InfiniteTimeSpan);
        var connecting = _channel.ConnectAsync(limit.Token);
        try
        {
            while (_channel.State is var state and not ConnectivityState.Ready)
            {
                if (state == ConnectivityState.TransientFailure)
                    throw new CoordinatorLostException($"nobody listens at {_address}", refused: false);
                await _channel.WaitForStateChangedAsync(state, limit.Token);
            }
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new CoordinatorLostException($"{_address} did not answer within {timeout.TotalSeconds:0.#} s", refused: false, e);
        }
        finally
        {
            await limit.CancelAsync();
            await connecting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Says in words why a call failed.</summary>
    public CoordinatorLostException Explain(RpcException e) => e.StatusCode switch
    {
        StatusCode.Unauthenticated or StatusCode.PermissionDenied => new CoordinatorLostException(e.Status.Detail, refused: true, e),
        StatusCode.Unavailable => new CoordinatorLostException($"the connection to {_address} broke ({Cause(e)}).", refused: false, e),
        _ => new CoordinatorLostException($"{_address} ended the stream: {e.Status.StatusCode}, {e.Status.Detail}", refused: false, e),
    };

    public void Dispose()
    {
        IsClosed = true;
        _channel.Dispose();
    }

    private static string Cause(RpcException e)
    {
        for (var inner = e.Status.DebugException; inner is not null; inner = inner.InnerException)
        {
            if (inner is SocketException or IOException)
                return inner.Message;
        }
        return e.Status.Detail;
    }
}
