using Google.Protobuf;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Worker.Tests.Work;

/// <summary>Real workers, a real model, the real decisions of a coordinator; only its process and its streams are missing.</summary>
[Collection(TrainerCollection.Name)]
public class FailingDeviceTests(SmallCorpus small) : IClassFixture<SmallCorpus>
{
    private readonly TrainingJob _job = small.Job with { MaxSteps = 5, Model = small.Job.Model with { Dropout = 0 } };

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_worker_whose_device_fails_is_put_out_and_the_run_ends_with_the_weights_of_the_undisturbed_one(bool lasting)
    {
        using var undisturbed = new Member(small, "u", $"undisturbed-{lasting}", _job);
        var expected = Assert.IsType<RunFinished>((await new Conductor(_job, undisturbed).RunAsync()).Outcome);

        using var sound = new Member(small, "a", $"failing-{lasting}", _job);
        using var failing = new Member(small, "b", $"failing-{lasting}", _job, work => new FailingDevice(work, fromStep: 2, lasting));
        var conductor = await new Conductor(_job, sound, failing).RunAsync();

        Assert.Equal(expected.WeightsSha256, Assert.IsType<RunFinished>(conductor.Outcome).WeightsSha256);
        Assert.Contains(conductor.Events.OfType<RunWarning>(), warning => warning.Message.StartsWith("Step 2: loss or gradient are not finite in lanes 1, 2 (worker b", StringComparison.Ordinal));
        Assert.Contains("finite on another worker", Assert.Single(conductor.Events.OfType<WorkerLeft>(), left => left.Worker == "b").Reason);
    }

    [Fact]
    public async Task A_worker_alone_evaluates_the_step_once_more_itself()
    {
        using var undisturbed = new Member(small, "u", "undisturbed-alone", _job);
        var expected = Assert.IsType<RunFinished>((await new Conductor(_job, undisturbed).RunAsync()).Outcome);

        using var healing = new Member(small, "a", "healing", _job, work => new FailingDevice(work, fromStep: 2, lasting: false));
        Assert.Equal(expected.WeightsSha256, Assert.IsType<RunFinished>((await new Conductor(_job, healing).RunAsync()).Outcome).WeightsSha256);

        using var failing = new Member(small, "a", "failing-alone", _job, work => new FailingDevice(work, fromStep: 2, lasting: true));
        var failed = Assert.IsType<RunFailed>((await new Conductor(_job, failing).RunAsync()).Outcome);
        Assert.Equal(ExitCode.Diverged, failed.ExitCode);
        Assert.Contains("The run diverged at step 2", failed.Message);
    }

    /// <summary>Plays the coordinator: tells the workers what it decides, and it what they say once a generation has ended.</summary>
    private sealed class Conductor(TrainingJob job, params Member[] members)
    {
        private CoordinatorState _state = CoordinatorState.Empty;
        private DrawSecret? _draw;
        private WorkerGeneration? _generation;

        public List<RunEvent> Events { get; } = [];

        public RunEvent? Outcome => _state.Outcome;

        public async Task<Conductor> RunAsync()
        {
            Happen(new RunSubmitted(new RunSpec { Run = "run", Workers = members.Length, StartWorkers = members.Length, Lanes = job.Lanes, MaxSteps = job.MaxSteps }));
            foreach (var member in members)
            {
                Happen(new WorkerArrived(new Hello { Worker = member.Name, Incarnation = member.Name }));
                Say(member, new FromWorker { Canary = new CanaryResult { Run = "run", Sha256 = "c", Endpoints = { member.Endpoints } } });
            }
            while (Outcome is null)
            {
                Happen(new SecretDrawn(_draw!.Generation, ByteString.CopyFrom(new byte[32])));
                var generation = _generation!;
                var taking = members.Where(member => generation.Members.Any(other => other.Worker == member.Name)).ToList();
                var ends = await Task.WhenAll(taking.Select(member => member.JoinAndTrain(member.Work(generation))));
                foreach (var member in taking)
                    Say(member, new FromWorker { Ready = new Ready { Run = "run", Generation = (ulong)generation.Number, Step = (ulong)generation.FirstStep } });
                foreach (var (member, end) in taking.Zip(ends))
                    Tell(member, end!);
                // Who had finished already is asked to halt when another one is put out.
                foreach (var (member, end) in taking.Zip(ends).Where(_ => _state.Phase == RunPhase.Halting))
                    Tell(member, new WorkerEvent.WorkHalted(generation.Number, ((WorkerEvent.TrainingFinished)end!).Step, "", []));
            }
            return this;
        }

        private void Tell(Member member, WorkerEvent end)
        {
            var number = (ulong)_generation!.Number;
            foreach (var (step, path) in member.Checkpoints)
                Say(member, new FromWorker { Checkpoint = new CheckpointReport { Run = "run", Generation = number, Step = (ulong)step, Path = path, WeightsSha256 = "w" } });
            if (end is WorkerEvent.WorkHalted halted)
                Say(member, WorkerMessages.Write(new WorkerEffect.SendHalted("run", halted.Generation, halted.Step, halted.Reason, halted.Suspects, halted.NotFinite), new Hello(), [])!);
            if (end is WorkerEvent.TrainingFinished finished)
                Say(member, new FromWorker { Finished = new Finished { Run = "run", Generation = number, Step = (ulong)finished.Step, WeightsSha256 = finished.WeightsSha256 } });
        }

        private void Say(Member member, FromWorker message) => Happen(new WorkerSaid(member.Name, message));

        private void Happen(CoordinatorEvent happened)
        {
            (_state, var effects) = CoordinatorProtocol.Decide(_state, happened);
            Events.AddRange(effects.OfType<Publish>().Select(publish => publish.Event));
            _draw = effects.OfType<DrawSecret>().LastOrDefault() ?? _draw;
            foreach (var tell in effects.OfType<TellWorker>())
                _generation = WorkerMessages.Read(tell.Message) is WorkerEvent.GenerationFormed formed ? formed.Generation : _generation;
        }
    }
}
