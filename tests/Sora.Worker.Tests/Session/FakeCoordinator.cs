using System.Threading.Channels;
using Google.Protobuf;
using Sora.Protocol.Api;
using Sora.Worker.Session;

namespace Sora.Worker.Tests.Session;

/// <summary>A coordinator that says what a test tells it to.</summary>
internal sealed class FakeCoordinator : ICoordinatorStream
{
    private readonly Channel<FromCoordinator> _toWorker = Channel.CreateUnbounded<FromCoordinator>();
    private readonly Channel<FromWorker> _fromWorker = Channel.CreateUnbounded<FromWorker>();

    /// <summary>Set: opening fails with it.</summary>
    public Exception? Unreachable { get; init; }

    public void Say(FromCoordinator message) => _toWorker.Writer.TryWrite(message);

    /// <summary>Breaks the stream, or closes it.</summary>
    public void Break(Exception? error = null) => _toWorker.Writer.TryComplete(error);

    /// <summary>Waits for the next message of a kind and drops those before it.</summary>
    public async Task<FromWorker> Hear(FromWorker.BodyOneofCase kind)
    {
        while (true)
        {
            var message = await _fromWorker.Reader.ReadAsync(TestContext.Current.CancellationToken);
            if (message.BodyCase == kind)
                return message;
        }
    }

    public Task<FromWorker> Next() => _fromWorker.Reader.ReadAsync(TestContext.Current.CancellationToken).AsTask();

    /// <summary>Takes a worker to the point where it waits for Start, alone in its generation.</summary>
    public async Task Prepare()
    {
        await Hear(FromWorker.BodyOneofCase.Hello);
        Say(new() { Assignment = new Assignment { Run = "run", JobJson = "{}", FirstStep = 0 } });
        await Hear(FromWorker.BodyOneofCase.Canary);
        Say(new()
        {
            Generation = new Generation
            {
                Run = "run",
                Generation_ = 1,
                Secret = ByteString.CopyFrom(new byte[32]),
                Members = { new Member { Worker = "worker-0", FirstLane = 0, LaneCount = 1 } },
            },
        });
        await Hear(FromWorker.BodyOneofCase.Ready);
    }

    public void Start() => Say(new() { Start = new Start { Run = "run", Generation = 1 } });

    public void Dismiss() => Say(new() { Goodbye = new Goodbye { Reason = "the run is over" } });

    Task ICoordinatorStream.OpenAsync(CancellationToken cancellationToken) => Unreachable is null ? Task.CompletedTask : Task.FromException(Unreachable);

    void ICoordinatorStream.Send(FromWorker message) => _fromWorker.Writer.TryWrite(message);

    IAsyncEnumerable<FromCoordinator> ICoordinatorStream.ReceiveAsync(CancellationToken cancellationToken) => _toWorker.Reader.ReadAllAsync(cancellationToken);

    Task ICoordinatorStream.CompleteAsync(CancellationToken cancellationToken)
    {
        // As the real one does: a worker that has closed its end sees the stream end.
        _toWorker.Writer.TryComplete();
        return Task.CompletedTask;
    }

    ValueTask IAsyncDisposable.DisposeAsync() => ValueTask.CompletedTask;
}
