using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Grpc.Core;
using Sora.Protocol.Api;

namespace Sora.Worker.Session;

/// <summary>The stream over gRPC: one call that lasts as long as the worker.</summary>
internal sealed class CoordinatorStream(CoordinatorClient coordinator) : ICoordinatorStream
{
    private readonly Channel<FromWorker> _outgoing = Channel.CreateUnbounded<FromWorker>(new UnboundedChannelOptions { SingleReader = true });
    private AsyncDuplexStreamingCall<FromWorker, FromCoordinator>? _call;
    private Task _sending = Task.CompletedTask;

    public async Task OpenAsync(CancellationToken cancellationToken)
    {
        await coordinator.ConnectAsync(cancellationToken);
        _call = coordinator.Gateway.Session(coordinator.Headers, cancellationToken: CancellationToken.None);
        _sending = SendAllAsync(_call.RequestStream);
    }

    public void Send(FromWorker message) => _outgoing.Writer.TryWrite(message);

    public async IAsyncEnumerable<FromCoordinator> ReceiveAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var messages = (_call ?? throw new InvalidOperationException("The stream is not open.")).ResponseStream;
        while (true)
        {
            bool more;
            try
            {
                more = await messages.MoveNext(cancellationToken);
            }
            catch (RpcException e)
            {
                cancellationToken.ThrowIfCancellationRequested();
                throw coordinator.Explain(e);
            }
            if (!more)
                yield break;
            yield return messages.Current;
        }
    }

    public async Task CompleteAsync(CancellationToken cancellationToken)
    {
        _outgoing.Writer.TryComplete();
        await _sending.WaitAsync(cancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        _outgoing.Writer.TryComplete();
        _call?.Dispose();
        await _sending.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private async Task SendAllAsync(IClientStreamWriter<FromWorker> stream)
    {
        try
        {
            await foreach (var message in _outgoing.Reader.ReadAllAsync())
                await stream.WriteAsync(message);
            await stream.CompleteAsync();
        }
        catch (Exception e) when (e is RpcException or InvalidOperationException or OperationCanceledException)
        {
            // The stream is broken: the receiving side learns why and says so.
        }
    }
}
