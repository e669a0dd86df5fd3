using System.Threading.Channels;
using Google.Protobuf;
using Sora.Protocol.Api;
using Sora.Worker.Session;

namespace Sora.Worker.Tests.Session;

/// <summary>Coordinators that say what a test tells them to. Everything said and heard concerns the stream that was opened last.</summary>
internal sealed class FakeCoordinator : ICoordinatorDialer
{
    private readonly Channel<FakeStream> _opened = Channel.CreateUnbounded<FakeStream>();
    private FakeStream? _stream;

    public IReadOnlyList<string> Coordinators { get; init; } = ["http://one"];

    /// <summary>Why dialling one of them fails; null: it does not.</summary>
    public Func<int, Exception?> OnDial { get; set; } = _ => null;

    /// <summary>Which were dialled.</summary>
    public List<int> Dialled { get; } = [];

    /// <summary>Waits for the next stream; what follows concerns it.</summary>
    public async Task Accept() => _stream = await _opened.Reader.ReadAsync(TestContext.Current.CancellationToken);

    public void Say(FromCoordinator message) => _stream!.ToWorker.Writer.TryWrite(message);

    /// <summary>Breaks the stream, or closes it.</summary>
    public void Break(Exception? error = null) => _stream!.ToWorker.Writer.TryComplete(error);

    /// <summary>Waits for the next message of a kind and drops those before it.</summary>
    public async Task<FromWorker> Hear(FromWorker.BodyOneofCase kind)
    {
        while (true)
        {
            var message = await _stream!.FromWorker.Reader.ReadAsync(TestContext.Current.CancellationToken);
            if (message.BodyCase == kind)
                return message;
        }
    }

    /// <summary>The next message that is no sign of life.</summary>
    public async Task<FromWorker> Next()
    {
        while (true)
        {
            var message = await _stream!.FromWorker.Reader.ReadAsync(TestContext.Current.CancellationToken);
            if (message.BodyCase != FromWorker.BodyOneofCase.Heartbeat)
                return message;
        }
    }

    /// <summary>Takes a new worker to the point where it waits for a generation.</summary>
    public async Task Prepare()
    {
        await Accept();
        await Hear(FromWorker.BodyOneofCase.Hello);
        Say(new() { Assignment = new Assignment { Run = "run", JobJson = "{}" } });
        await Hear(FromWorker.BodyOneofCase.Canary);
    }

    /// <summary>Forms a generation of the worker alone.</summary>
    public void Form(long number, int lanes = 1, long firstStep = 0, bool holds = false, long reportedStep = -1, long evaluatedStep = -1)
    {
        var generation = new Generation
        {
            Run = "run",
            Generation_ = (ulong)number,
            FirstStep = (ulong)firstStep,
            ReportedStep = reportedStep,
            EvaluatedStep = evaluatedStep,
            SavedStep = -1,
            Secret = ByteString.CopyFrom(new byte[32]),
            Members = { new Member { Worker = "worker-0", FirstLane = 0, LaneCount = (uint)lanes } },
        };
        if (holds)
            generation.Holders.Add(0);
        Say(new() { Generation = generation });
    }

    public void Halt(long generation, bool gracefully) => Say(new() { Halt = new Halt { Run = "run", Generation = (ulong)generation, Gracefully = gracefully, Reason = "a worker joins" } });

    public void Save(long step) => Say(new() { Save = new Save { Run = "run", Step = (ulong)step } });

    public void Dismiss(int exitCode = 0) => Say(new() { Goodbye = new Goodbye { Reason = "the run is over", ExitCode = (uint)exitCode } });

    Task<ICoordinatorStream> ICoordinatorDialer.DialAsync(int coordinator, CancellationToken cancellationToken)
    {
        Dialled.Add(coordinator);
        if (OnDial(coordinator) is { } error)
            return Task.FromException<ICoordinatorStream>(error);
        var stream = new FakeStream();
        _opened.Writer.TryWrite(stream);
        return Task.FromResult<ICoordinatorStream>(stream);
    }

    private sealed class FakeStream : ICoordinatorStream
    {
        public Channel<FromCoordinator> ToWorker { get; } = Channel.CreateUnbounded<FromCoordinator>();

        public Channel<FromWorker> FromWorker { get; } = Channel.CreateUnbounded<FromWorker>();

        public void Send(FromWorker message) => FromWorker.Writer.TryWrite(message);

        public IAsyncEnumerable<FromCoordinator> ReceiveAsync(CancellationToken cancellationToken) => ToWorker.Reader.ReadAllAsync(cancellationToken);

        public CoordinatorClient Client => throw new NotSupportedException("There is no connection behind this stream.");

        public void Break(string reason) => ToWorker.Writer.TryComplete(new CoordinatorLostException(reason, refused: false));

        public Task CompleteAsync(CancellationToken cancellationToken)
        {
            // As the real one does: a worker that has closed its end sees the stream end.
            ToWorker.Writer.TryComplete();
            return Task.CompletedTask;
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
