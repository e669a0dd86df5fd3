using Grpc.Core;
using Grpc.Net.Client;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;

namespace Sora.Coordinator.Tests;

/// <summary>Dials a coordinator and says what a test tells it to.</summary>
internal sealed class FakeWorker : IAsyncDisposable
{
    private readonly GrpcChannel _channel;
    private readonly AsyncDuplexStreamingCall<FromWorker, FromCoordinator> _call;

    private FakeWorker(string id, GrpcChannel channel, WorkerGateway.WorkerGatewayClient client, AsyncDuplexStreamingCall<FromWorker, FromCoordinator> call)
    {
        Id = id;
        _channel = channel;
        Client = client;
        _call = call;
    }

    public string Id { get; }

    public WorkerGateway.WorkerGatewayClient Client { get; }

    public static Metadata Bearer(string token) => new() { { "authorization", $"Bearer {token}" } };

    /// <summary>Dials in, for the first time or again: with the same incarnation and a standing.</summary>
    public static async Task<FakeWorker> DialAsync(CoordinatorHost host, string id, Standing? standing = null, string? incarnation = null, uint version = WorkerProtocol.Version)
    {
        var channel = GrpcChannel.ForAddress(host.Address);
        var client = new WorkerGateway.WorkerGatewayClient(channel);
        var call = client.Session(Bearer(host.Token), cancellationToken: TestContext.Current.CancellationToken);
        var worker = new FakeWorker(id, channel, client, call);
        await worker.SayAsync(new FromWorker
        {
            Hello = new Hello
            {
                Worker = id,
                Incarnation = incarnation ?? $"first process of {id}",
                ProtocolVersion = version,
                Host = "box",
                ProcessId = 7,
                Device = "cpu",
                Threads = 1,
                Numerics = $"numerics of {id}",
                Standing = standing,
            },
        });
        return worker;
    }

    /// <summary>Where a worker stands that computes in a generation, with the canary of <see cref="BeginAsync"/>.</summary>
    public static Standing Training(Generation generation, string id, long step) => new()
    {
        Run = generation.Run,
        Generation = generation.Generation_,
        Step = step,
        Canary = "same",
        Parameters = 10,
        Endpoints = { $"unix:/{id}" },
        InGeneration = true,
    };

    /// <summary>Where it stands after it has halted in a generation.</summary>
    public static Standing Halted(Generation generation, string id, long step)
    {
        var standing = Training(generation, id, step);
        standing.InGeneration = false;
        return standing;
    }

    public Task BeatAsync(Heartbeat? beat = null) => SayAsync(new FromWorker { Heartbeat = beat ?? new Heartbeat() });

    public Task SayAsync(FromWorker message) => _call.RequestStream.WriteAsync(message, TestContext.Current.CancellationToken);

    public async Task<FromCoordinator> HearAsync()
    {
        using var patience = TestCoordinator.Patience();
        Assert.True(await _call.ResponseStream.MoveNext(patience.Token), $"the stream of {Id} ended");
        return _call.ResponseStream.Current;
    }

    /// <summary>The next message; null when the stream was closed.</summary>
    public async Task<FromCoordinator?> TryHearAsync() =>
        await _call.ResponseStream.MoveNext(TestContext.Current.CancellationToken) ? _call.ResponseStream.Current : null;

    /// <summary>The stream is closed without another word.</summary>
    public async Task<bool> StreamEndsAsync()
    {
        using var patience = TestCoordinator.Patience();
        return !await _call.ResponseStream.MoveNext(patience.Token);
    }

    /// <summary>The stream breaks: the coordinator's end is gone.</summary>
    public async Task<bool> StreamBreaksAsync()
    {
        using var patience = TestCoordinator.Patience();
        try
        {
            return !await _call.ResponseStream.MoveNext(patience.Token);
        }
        catch (RpcException)
        {
            return true;
        }
    }

    /// <summary>Takes the assignment and delivers a canary.</summary>
    public async Task<Assignment> ProveAsync(string canary)
    {
        var assignment = (await HearAsync()).Assignment;
        Assert.NotNull(assignment);
        await SayAsync(new FromWorker { Canary = new CanaryResult { Run = assignment.Run, Sha256 = canary, Endpoints = { $"unix:/{Id}" }, Parameters = 10 } });
        return assignment;
    }

    /// <summary>Takes the generation and gets ready.</summary>
    public async Task<Generation> ReadyAsync()
    {
        var generation = (await HearAsync()).Generation;
        Assert.NotNull(generation);
        await SayAsync(new FromWorker { Ready = new Ready { Run = generation.Run, Generation = generation.Generation_, Step = generation.FirstStep } });
        return generation;
    }

    /// <summary>Takes workers with equal canaries to the first step.</summary>
    public static async Task<Generation> BeginAsync(params FakeWorker[] workers)
    {
        await Task.WhenAll(workers.Select(worker => worker.ProveAsync("same")));
        var generations = await Task.WhenAll(workers.Select(worker => worker.ReadyAsync()));
        return generations[0];
    }

    public Task StepAsync(Generation generation, ulong step, double loss = 2) => SayAsync(new FromWorker
    {
        Step = new StepReport { Run = generation.Run, Generation = generation.Generation_, Step = step, Loss = loss, Tokens = 1000, StepSeconds = 0.5 },
    });

    public Task FinishAsync(Generation generation, ulong step, string weights) => SayAsync(new FromWorker
    {
        Finished = new Finished { Run = generation.Run, Generation = generation.Generation_, Step = step, WeightsSha256 = weights },
    });

    /// <summary>Takes the order to halt and obeys.</summary>
    public async Task<Halt> HaltAsync(long step)
    {
        var halt = (await HearAsync()).Halt;
        Assert.NotNull(halt);
        await SayAsync(new FromWorker { Halted = new Halted { Run = halt.Run, Generation = halt.Generation, Step = step } });
        return halt;
    }

    /// <summary>Takes the order to save and obeys.</summary>
    public async Task SaveAsync(string path)
    {
        var save = (await HearAsync()).Save;
        Assert.NotNull(save);
        await SayAsync(new FromWorker { Checkpoint = new CheckpointReport { Run = save.Run, Step = save.Step, Path = path } });
    }

    /// <summary>Tells of a checkpoint in its usual place.</summary>
    public Task SaidSavedAsync(Generation generation, ulong step) => SayAsync(new FromWorker
    {
        Checkpoint = new CheckpointReport { Run = generation.Run, Generation = generation.Generation_, Step = step, Path = $"/output/checkpoint-{step}", WeightsSha256 = "weights" },
    });

    /// <summary>Takes a run of three steps to its end, alone.</summary>
    public async Task FinishRunAsync(Generation generation)
    {
        await SaidSavedAsync(generation, 3);
        await FinishAsync(generation, 3, "weights");
    }

    /// <summary>The process dies: the connection breaks without a word.</summary>
    public void Die()
    {
        _call.Dispose();
        _channel.Dispose();
    }

    public ValueTask DisposeAsync()
    {
        Die();
        return ValueTask.CompletedTask;
    }
}
