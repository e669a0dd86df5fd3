using System.Net.Sockets;
using Grpc.Core;
using Grpc.Net.Client;
using Sora.Protocol.Api;

namespace Sora.Worker.Session;

/// <summary>The connection to a coordinator, for the session's stream and for the pieces of the corpus.</summary>
internal sealed class CoordinatorClient : IDisposable
{
    // A manifest lists the hash of every piece of the corpus.
    private const int MaxMessageBytes = 256 << 20;
    private readonly WorkerOptions _options;
    private readonly GrpcChannel _channel;

    public CoordinatorClient(WorkerOptions options)
    {
        _options = options;
        _channel = GrpcChannel.ForAddress(options.Coordinator, new GrpcChannelOptions
        {
            MaxReceiveMessageSize = MaxMessageBytes,
            HttpHandler = new SocketsHttpHandler
            {
                // Pings tell a coordinator that vanished without a word from one that has nothing to say.
                KeepAlivePingDelay = TimeSpan.FromSeconds(15),
                KeepAlivePingTimeout = TimeSpan.FromSeconds(15),
                PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
                UseProxy = false,
            },
            DisposeHttpClient = true,
        });
        Gateway = new WorkerGateway.WorkerGatewayClient(_channel);
        Headers = new Metadata { { "authorization", "Bearer " + options.Token } };
    }

    public WorkerGateway.WorkerGatewayClient Gateway { get; }

    public Metadata Headers { get; }

    /// <exception cref="CoordinatorLostException">It does not answer in time.</exception>
    public async Task ConnectAsync(CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var timer = _options.Time.CreateTimer(_ => limit.Cancel(), null, _options.ConnectTimeout, Timeout.InfiniteTimeSpan);
        try
        {
            await _channel.ConnectAsync(limit.Token);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new CoordinatorLostException(
                $"no coordinator answered at {_options.Coordinator} within {_options.ConnectTimeout.TotalSeconds:0} s. Is it running, and is the address right?", refused: false, e);
        }
    }

    /// <summary>Says in words why a call failed.</summary>
    public CoordinatorLostException Explain(RpcException e) => e.StatusCode switch
    {
        StatusCode.Unauthenticated or StatusCode.PermissionDenied => new CoordinatorLostException(e.Status.Detail, refused: true, e),
        StatusCode.Unavailable => new CoordinatorLostException($"the connection to {_options.Coordinator} broke ({Cause(e)}).", refused: false, e),
        _ => new CoordinatorLostException($"{_options.Coordinator} ended the stream: {e.Status.StatusCode}, {e.Status.Detail}", refused: false, e),
    };

    public void Dispose() => _channel.Dispose();

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
