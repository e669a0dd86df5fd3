using System.Net;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Sora.Protocol.Api;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Worker.Exchange;
using Sora.Worker.Session;
using Sora.Worker.Work;

namespace Sora.Worker.Tests.Session;

public sealed class WorkerSessionTests : IDisposable
{
    private readonly FakeTimeProvider _time = new();
    private readonly TrainingThread _training = new();
    private readonly ExchangeListener _listener = new(null, IPAddress.Loopback);
    private WorkerSession? _session;

    [Fact]
    public async Task A_run_is_reported_from_hello_to_its_end()
    {
        var (coordinator, work) = (new FakeCoordinator(), new FakeWork());
        var running = Run(coordinator, work);
        var hello = (await coordinator.Hear(FromWorker.BodyOneofCase.Hello)).Hello;
        Assert.Equal(("worker-0", "fake", (uint)WorkerProtocol.Version), (hello.Worker, hello.Numerics, hello.ProtocolVersion));
        coordinator.Say(new() { Assignment = new Assignment { Run = "run", JobJson = "{}" } });
        var canary = (await coordinator.Hear(FromWorker.BodyOneofCase.Canary)).Canary;
        Assert.Equal(("canary", 4ul), (canary.Sha256, canary.Parameters));
        Assert.StartsWith("tcp:127.0.0.1:", Assert.Single(canary.Endpoints));
        coordinator.Say(new() { Generation = new Generation { Run = "run", Generation_ = 1, Members = { new Member { Worker = "worker-0", LaneCount = 1 } } } });
        Assert.Equal(1ul, (await coordinator.Hear(FromWorker.BodyOneofCase.Ready)).Ready.Generation);
        coordinator.Start();

        Assert.Equal(FromWorker.BodyOneofCase.Step, (await coordinator.Next()).BodyCase);
        Assert.Equal(FromWorker.BodyOneofCase.Checkpoint, (await coordinator.Next()).BodyCase);
        var finished = (await coordinator.Next()).Finished;
        Assert.Equal(("run", 1ul, 1ul, "hash"), (finished.Run, finished.Generation, finished.Step, finished.WeightsSha256));
        coordinator.Dismiss();

        Assert.Equal(ExitCode.Ok, await running);
        Assert.Single(work.Threads);
    }

    [Fact]
    public async Task What_the_user_can_mend_is_reported_with_its_own_exit_code()
    {
        var coordinator = new FakeCoordinator();
        var running = Run(coordinator, new FakeWork { OnProve = () => throw new SoraException("no such corpus", ExitCode.InvalidInput) });
        await coordinator.Hear(FromWorker.BodyOneofCase.Hello);
        coordinator.Say(new() { Assignment = new Assignment { Run = "run", JobJson = "{}" } });
        var failed = (await coordinator.Hear(FromWorker.BodyOneofCase.Failed)).Failed;
        Assert.Equal(("no such corpus", (uint)ExitCode.InvalidInput, false), (failed.Message, failed.ExitCode, failed.PeerLost));
        Assert.Equal(ExitCode.InvalidInput, await running);
    }

    [Fact]
    public async Task An_unexpected_error_in_the_training_thread_is_reported_and_ends_the_worker()
    {
        var coordinator = new FakeCoordinator();
        var running = Run(coordinator, new FakeWork { OnTrain = (_, _, _) => throw new InvalidCastException("odd") });
        await coordinator.Prepare();
        coordinator.Start();
        var failed = (await coordinator.Hear(FromWorker.BodyOneofCase.Failed)).Failed;
        Assert.Equal("Unexpected InvalidCastException: odd", failed.Message);
        Assert.Contains(nameof(WorkerSessionTests), failed.Detail);
        Assert.Equal(ExitCode.Failure, await running);
    }

    [Fact]
    public async Task A_broken_exchange_is_reported_as_the_echo_of_another_failure()
    {
        var coordinator = new FakeCoordinator();
        var running = Run(coordinator, new FakeWork { OnTrain = (_, _, _) => throw new ExchangeBrokenException("Step 3: worker-1 is gone") });
        await coordinator.Prepare();
        coordinator.Start();
        Assert.True((await coordinator.Hear(FromWorker.BodyOneofCase.Failed)).Failed.PeerLost);
        Assert.Equal(ExitCode.Failure, await running);
    }

    [Fact]
    public async Task A_worker_that_loses_its_coordinator_stops_computing_and_ends()
    {
        var coordinator = new FakeCoordinator();
        var inTraining = new TaskCompletionSource();
        var running = Run(coordinator, new FakeWork
        {
            OnTrain = (_, exchange, _) =>
            {
                inTraining.SetResult();
                for (var step = 0L; ; step++)
                    FakeWork.Step(exchange, step, stop: false);
            },
        });
        await coordinator.Prepare();
        coordinator.Start();
        await inTraining.Task;
        coordinator.Break(new CoordinatorLostException("the connection broke.", refused: false));
        Assert.Equal(ExitCode.Unreachable, await running);
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task A_stop_lets_the_step_end_and_leaves_a_resumable_run(bool bySignal)
    {
        var coordinator = new FakeCoordinator();
        var inTraining = new TaskCompletionSource();
        var running = Run(coordinator, new FakeWork
        {
            OnTrain = (work, exchange, _) =>
            {
                inTraining.SetResult();
                var step = 0L;
                while (!FakeWork.Step(exchange, step++, work.Stop is true).StopRequested)
                {
                }
                return new WorkEnd(step, true, "hash", "/checkpoint");
            },
        });
        await coordinator.Prepare();
        coordinator.Start();
        await inTraining.Task;
        if (bySignal)
            _session!.Post(new WorkerEvent.StopSignalled("SIGTERM"));
        else
            coordinator.Say(new() { Stop = new Stop { Run = "run", Reason = "Ctrl-C", Checkpoint = true } });
        Assert.Equal("/checkpoint", (await coordinator.Hear(FromWorker.BodyOneofCase.Stopped)).Stopped.Checkpoint);
        coordinator.Dismiss();
        Assert.Equal(ExitCode.Resumable, await running);
    }

    [Fact]
    public async Task A_refused_worker_leaves_with_the_code_it_is_given()
    {
        var coordinator = new FakeCoordinator();
        var running = Run(coordinator, new FakeWork());
        coordinator.Say(new() { Refused = new Refused { Reason = "other numerics", ExitCode = ExitCode.InvalidInput } });
        Assert.Equal(ExitCode.InvalidInput, await running);
    }

    [Fact]
    public async Task A_wrong_token_is_a_usage_error_and_an_absent_coordinator_is_unreachable()
    {
        Assert.Equal(ExitCode.Usage, await Run(new FakeCoordinator { Unreachable = new CoordinatorLostException("token", refused: true) }, new FakeWork()));
        Assert.Equal(ExitCode.Unreachable, await Run(new FakeCoordinator { Unreachable = new CoordinatorLostException("nobody", refused: false) }, new FakeWork()));
    }

    [Fact]
    public async Task It_gives_signs_of_life_while_it_waits()
    {
        var coordinator = new FakeCoordinator();
        var running = Run(coordinator, new FakeWork());
        await coordinator.Hear(FromWorker.BodyOneofCase.Hello);
        var beat = coordinator.Hear(FromWorker.BodyOneofCase.Heartbeat);
        while (!beat.IsCompleted)
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            await Task.Yield();
        }
        coordinator.Dismiss();
        Assert.Equal(ExitCode.Ok, await running);
    }

    public void Dispose()
    {
        _training.Dispose();
        _listener.Dispose();
    }

    private Task<int> Run(FakeCoordinator coordinator, FakeWork work)
    {
        _session = new WorkerSession("worker-0", coordinator, work, _training, _listener, work.Inspect(), _time, NullLogger.Instance);
        return _session.RunAsync();
    }
}
