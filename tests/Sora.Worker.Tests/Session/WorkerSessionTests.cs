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
using static Sora.Protocol.Api.FromWorker;

namespace Sora.Worker.Tests.Session;

public sealed class WorkerSessionTests : IDisposable
{
    private readonly FakeTimeProvider _time = new();
    private readonly TrainingThread _training = new();
    private readonly ExchangeListener _listener = new(null, IPAddress.Loopback);
    private readonly FakeCoordinator _coordinator = new();
    private WorkerSession? _session;

    [Fact]
    public async Task A_run_is_reported_from_hello_to_its_end()
    {
        var work = new FakeWork { LastStep = 1 };
        var running = Run(work);
        await _coordinator.Accept();
        var hello = (await _coordinator.Next()).Hello;
        Assert.Equal(("worker-0", "fake", (uint)WorkerProtocol.Version), (hello.Worker, hello.Numerics, hello.ProtocolVersion));
        Assert.Null(hello.Standing);
        Assert.NotEmpty(hello.Incarnation);
        _coordinator.Say(new() { Assignment = new Assignment { Run = "run", JobJson = "{}" } });
        var canary = (await _coordinator.Next()).Canary;
        Assert.Equal(("canary", 4ul), (canary.Sha256, canary.Parameters));
        Assert.StartsWith("tcp:127.0.0.1:", Assert.Single(canary.Endpoints));
        _coordinator.Form(1);

        var ready = (await _coordinator.Next()).Ready;
        Assert.Equal((1ul, 0ul), (ready.Generation, ready.Step));
        Assert.Equal(BodyOneofCase.Step, (await _coordinator.Next()).BodyCase);
        Assert.Equal(BodyOneofCase.Checkpoint, (await _coordinator.Next()).BodyCase);
        var finished = (await _coordinator.Next()).Finished;
        Assert.Equal(("run", 1ul, 1ul, "hash"), (finished.Run, finished.Generation, finished.Step, finished.WeightsSha256));
        _coordinator.Dismiss();

        Assert.Equal(ExitCode.Ok, await running);
        Assert.Single(work.Threads);
    }

    [Fact]
    public async Task What_the_user_can_mend_is_reported_with_its_own_exit_code()
    {
        var running = Run(new FakeWork { OnProve = () => throw new SoraException("no such corpus", ExitCode.InvalidInput) });
        await _coordinator.Accept();
        _coordinator.Say(new() { Assignment = new Assignment { Run = "run", JobJson = "{}" } });
        var failed = (await _coordinator.Hear(BodyOneofCase.Failed)).Failed;
        Assert.Equal(("no such corpus", (uint)ExitCode.InvalidInput), (failed.Message, failed.ExitCode));
        Assert.Equal(ExitCode.InvalidInput, await running);
    }

    [Fact]
    public async Task An_unexpected_error_in_the_training_thread_is_reported_and_ends_the_worker()
    {
        var running = Run(new FakeWork { AfterStep = _ => throw new InvalidCastException("odd") });
        await _coordinator.Prepare();
        _coordinator.Form(1);
        var failed = (await _coordinator.Hear(BodyOneofCase.Failed)).Failed;
        Assert.Equal("Unexpected InvalidCastException: odd", failed.Message);
        Assert.Contains(nameof(WorkerSessionTests), failed.Detail);
        Assert.Equal(ExitCode.Failure, await running);
    }

    [Fact]
    public async Task A_broken_exchange_halts_the_worker_which_tells_whom_it_suspects_and_stays()
    {
        var broken = false;
        var running = Run(new FakeWork
        {
            LastStep = 3,
            AfterStep = step =>
            {
                if (step == 2 && !broken)
                {
                    broken = true;
                    throw new ExchangeBrokenException("Step 2: worker-1 is gone", ["worker-1"]);
                }
            },
        });
        await _coordinator.Prepare();
        _coordinator.Form(1);
        var halted = (await _coordinator.Hear(BodyOneofCase.Halted)).Halted;
        Assert.Equal((1ul, 2, "Step 2: worker-1 is gone", "worker-1"), (halted.Generation, halted.Step, halted.Reason, Assert.Single(halted.Suspects)));

        _coordinator.Form(2, firstStep: 2, holds: true);
        Assert.Equal(3ul, (await _coordinator.Hear(BodyOneofCase.Finished)).Finished.Step);
        _coordinator.Dismiss();
        Assert.Equal(ExitCode.Ok, await running);
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task A_halted_worker_goes_on_in_the_next_generation_with_other_lanes(bool gracefully)
    {
        var work = new FakeWork();
        var running = Run(work);
        await _coordinator.Prepare();
        _coordinator.Form(1, lanes: 1);
        await _coordinator.Hear(BodyOneofCase.Step);
        _coordinator.Halt(1, gracefully);
        var halted = (await _coordinator.Hear(BodyOneofCase.Halted)).Halted;
        Assert.Equal(("", 0), (halted.Reason, halted.Suspects.Count));
        Assert.True(halted.Step >= 1);

        _coordinator.Form(2, lanes: 3, firstStep: halted.Step, holds: true, reportedStep: halted.Step);
        Assert.Equal((ulong)halted.Step, (await _coordinator.Hear(BodyOneofCase.Ready)).Ready.Step);
        Assert.Equal((2ul, (ulong)halted.Step + 1), Place((await _coordinator.Hear(BodyOneofCase.Step)).Step));
        Assert.Equal([new LaneRange(0, 1), new LaneRange(0, 3)], work.Lanes);

        // An order for the generation before changes nothing; one for this generation does.
        _coordinator.Halt(1, gracefully: false);
        await _coordinator.Hear(BodyOneofCase.Step);
        _coordinator.Halt(2, gracefully);
        Assert.Equal(2ul, (await _coordinator.Hear(BodyOneofCase.Halted)).Halted.Generation);
        _coordinator.Dismiss(ExitCode.Resumable);
        Assert.Equal(ExitCode.Resumable, await running);
    }

    [Fact]
    public async Task Without_a_coordinator_training_goes_on_and_the_next_stream_learns_everything_in_order()
    {
        var (first, rest) = (new TaskCompletionSource(), new TaskCompletionSource());
        var running = Run(new FakeWork { LastStep = 5, AfterStep = step => (step == 1 ? first : step == 5 ? rest : null)?.SetResult() });
        await _coordinator.Prepare();
        _coordinator.OnDial = _ => first.Task.IsCompleted && !rest.Task.IsCompleted ? new CoordinatorLostException("nobody", refused: false) : null;
        _coordinator.Form(1);
        await first.Task;
        _coordinator.Break(new CoordinatorLostException("the connection broke", refused: false));
        await rest.Task;

        await Later(_coordinator.Accept());
        var hello = (await _coordinator.Next()).Hello;
        Assert.Equal(("run", 1ul, "canary", true), (hello.Standing.Run, hello.Standing.Generation, hello.Standing.Canary, hello.Standing.InGeneration));
        for (var step = 1ul; step <= 5; step++)
            Assert.Equal((1ul, step), Place((await _coordinator.Hear(BodyOneofCase.Step)).Step));
        Assert.Equal(5ul, (await _coordinator.Hear(BodyOneofCase.Checkpoint)).Checkpoint.Step);
        Assert.Equal(5ul, (await _coordinator.Hear(BodyOneofCase.Finished)).Finished.Step);
        _coordinator.Dismiss();
        Assert.Equal(ExitCode.Ok, await running);
    }

    [Fact]
    public async Task The_first_rank_of_a_generation_tells_what_its_predecessor_did_not()
    {
        var running = Run(new FakeWork());
        await _coordinator.Prepare();
        _coordinator.Form(1);
        for (var i = 0; i < 3; i++)
            await _coordinator.Hear(BodyOneofCase.Step);
        _coordinator.Halt(1, gracefully: true);
        var halted = (await _coordinator.Hear(BodyOneofCase.Halted)).Halted;

        _coordinator.Form(2, firstStep: halted.Step, holds: true, reportedStep: 1);
        Assert.Equal(BodyOneofCase.Ready, (await _coordinator.Next()).BodyCase);
        for (var step = 2ul; step <= (ulong)halted.Step + 2; step++)
            Assert.Equal((2ul, step), Place((await _coordinator.Next()).Step));
        _coordinator.Dismiss();
        Assert.Equal(ExitCode.Ok, await running);
    }

    [Fact]
    public async Task A_worker_told_to_end_says_so_halts_with_the_others_and_leaves_when_it_may()
    {
        var running = Run(new FakeWork());
        await _coordinator.Prepare();
        _coordinator.Form(1);
        await _coordinator.Hear(BodyOneofCase.Step);
        _session!.Post(new WorkerEvent.DrainSignalled("SIGTERM"));
        Assert.Equal("SIGTERM", (await _coordinator.Hear(BodyOneofCase.Draining)).Draining.Reason);
        _coordinator.Halt(1, gracefully: true);
        await _coordinator.Hear(BodyOneofCase.Halted);
        _coordinator.Dismiss();
        Assert.Equal(ExitCode.Ok, await running);
    }

    [Fact]
    public async Task A_worker_without_work_that_is_told_to_end_just_ends()
    {
        var running = Run(new FakeWork());
        await _coordinator.Accept();
        _session!.Post(new WorkerEvent.DrainSignalled("SIGTERM"));
        Assert.Equal(ExitCode.Ok, await running);
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task A_halted_worker_writes_a_checkpoint_when_asked_or_says_why_not(bool full)
    {
        var running = Run(full ? new FakeWork { OnSave = (step, reports) => reports.NoCheckpoint(step, "disk full") } : new FakeWork());
        await _coordinator.Prepare();
        _coordinator.Form(1);
        await _coordinator.Hear(BodyOneofCase.Step);
        _coordinator.Halt(1, gracefully: true);
        var step = (await _coordinator.Hear(BodyOneofCase.Halted)).Halted.Step;
        _coordinator.Save(step);
        var checkpoint = (await _coordinator.Hear(BodyOneofCase.Checkpoint)).Checkpoint;
        Assert.Equal(("run", (ulong)step), (checkpoint.Run, checkpoint.Step));
        Assert.Equal(full ? ("", "disk full") : ($"/checkpoints/{step}", ""), (checkpoint.Path, checkpoint.Error));
        _coordinator.Dismiss(ExitCode.Resumable);
        Assert.Equal(ExitCode.Resumable, await running);
    }

    [Fact]
    public async Task A_refused_worker_leaves_with_the_code_it_is_given()
    {
        var running = Run(new FakeWork());
        await _coordinator.Accept();
        _coordinator.Say(new() { Refused = new Refused { Reason = "other numerics", ExitCode = ExitCode.InvalidInput } });
        Assert.Equal(ExitCode.InvalidInput, await running);
    }

    [Fact]
    public async Task A_wrong_token_is_a_usage_error_at_the_first_stream_and_at_any_other()
    {
        var running = Run(new FakeWork());
        await _coordinator.Prepare();
        _coordinator.OnDial = _ => new CoordinatorLostException("token", refused: true);
        _coordinator.Break();
        Assert.Equal(ExitCode.Usage, await Later(running));
    }

    [Theory, InlineData(false, 30), InlineData(true, 3600)]
    public async Task A_worker_that_finds_no_coordinator_gives_up_sooner_without_work(bool hasWork, double seconds)
    {
        var running = Run(new FakeWork());
        if (hasWork)
            await _coordinator.Prepare();
        else
            await _coordinator.Accept();
        var since = _time.GetTimestamp();
        _coordinator.OnDial = _ => new CoordinatorLostException("nobody", refused: false);
        _coordinator.Break();
        Assert.Equal(ExitCode.Unreachable, await Later(running));
        Assert.True(_time.GetElapsedTime(since) >= TimeSpan.FromSeconds(seconds));
    }

    [Fact]
    public async Task Signs_of_life_tell_the_pace_of_the_steps_since_the_last_one()
    {
        var running = Run(new FakeWork { LastStep = 4 });
        await _coordinator.Prepare();
        _coordinator.Form(1);
        await _coordinator.Hear(BodyOneofCase.Finished);
        var beat = (await Later(_coordinator.Hear(BodyOneofCase.Heartbeat))).Heartbeat;
        Assert.Equal((1ul, 4ul, 4u, 2.0, 1.0), (beat.Generation, beat.Step, beat.Steps, beat.ComputeSeconds, beat.WaitSeconds));
        Assert.Equal(0u, (await Later(_coordinator.Hear(BodyOneofCase.Heartbeat))).Heartbeat.Steps);
        _coordinator.Dismiss();
        Assert.Equal(ExitCode.Ok, await running);
    }

    [Fact]
    public async Task It_gives_signs_of_life_while_it_waits()
    {
        var running = Run(new FakeWork());
        await _coordinator.Accept();
        await Later(_coordinator.Hear(BodyOneofCase.Heartbeat));
        _coordinator.Dismiss();
        Assert.Equal(ExitCode.Ok, await running);
    }

    public void Dispose()
    {
        _training.Dispose();
        _listener.Dispose();
    }

    private Task<int> Run(FakeWork work)
    {
        var options = new WorkerOptions { Coordinators = [], Token = "", Time = _time, Random = new Random(1), ReconnectLimit = TimeSpan.FromHours(1) };
        _session = new WorkerSession("worker-0", _coordinator, work, _training, _listener, work.Inspect(), options, NullLogger.Instance);
        return _session.RunAsync();
    }

    private static (ulong Generation, ulong Step) Place(StepReport report) => (report.Generation, report.Step);

    /// <summary>Lets time pass until something has happened.</summary>
    private async Task<T> Later<T>(Task<T> happens)
    {
        await Later((Task)happens);
        return await happens;
    }

    private async Task Later(Task happens)
    {
        while (!happens.IsCompleted)
        {
            _time.Advance(TimeSpan.FromMilliseconds(50));
            await Task.Yield();
        }
        await happens;
    }
}
