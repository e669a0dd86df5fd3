using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Grpc.Core;
using Sora.Protocol.Api;

namespace Sora.Worker.Session;

/// <summary>The stream over gRPC: one call, on a connection that ends with it.</summary>
internal sealed class CoordinatorStream : ICoordinatorStream
{
    private readonly Channel<FromWorker> _outgoing = Channel.CreateUnbounded<FromWorker>(new UnboundedChannelOptions { SingleReader = true });
    private readonly CoordinatorClient _client;
    private readonly AsyncDuplexStreamingCall<FromWorker, FromCoordinator> _call;
    private readonly Task _sending;
    private volatile string? _broken;

    /// <param name="client">Connected; owned from here on.</param>
    public CoordinatorStream(CoordinatorClient client)
    {
        _client = client;
        _call = client.Gateway.Session(client.Headers, cancellationToken: CancellationToken.None);
        _sending = SendAllAsync();
    }

    public CoordinatorClient Client => _client;

    public void Send(FromWorker message) => _outgoing.Writer.TryWrite(message);

    public async IAsyncEnumerable<FromCoordinator> ReceiveAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        while (true)
        {
            bool more;
            try
            {
                more = await _call.ResponseStream.MoveNext(cancellationToken);
            }
            catch (Exception e) when (e is RpcException or ObjectDisposedException)
            {
                cancellationToken.ThrowIfCancellationRequested();
                throw (_broken, e) switch
                {
                    ({ } reason, _) => new CoordinatorLostException(reason, refused: false, e),
                    (_, RpcException failed) => _client.Explain(failed),
                    _ => new CoordinatorLostException("the stream was closed.", refused: false, e),
                };
            }
            if (!more)
                yield break;
            yield return _call.ResponseStream.Current;
        }
    }

    public void Break(string reason)
    {
        _broken = reason;
        _call.Dispose();
    }

    public async Task CompleteAsync(CancellationToken cancellationToken)
    {
        _outgoing.Writer.TryComplete();
        await _sending.WaitAsync(cancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        _outgoing.Writer.TryComplete();
        _call.Dispose();
        await _sending.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _client.Dispose();
    }

    private async Task SendAllAsync()
    {
        try
        {
            await foreach (var message in _outgoing.Reader.ReadAllAsync())
                await _call.RequestStream.WriteAsync(message);
            await _call.RequestStream.CompleteAsync();
        }
        catch (Exception e) when (e is RpcException or InvalidOperationException or OperationCanceledException)
        {
            // The stream is broken: the receiving side learns why and says so.
        }
    }
}
