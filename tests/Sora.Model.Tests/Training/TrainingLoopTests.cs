using Sora.Model.Tests.Native;
using Sora.Model.Training;
using TorchSharp;

namespace Sora.Model.Tests.Training;

[Collection(LibtorchCollection.Name)]
public class TrainingLoopTests
{
    [Fact]
    public void Run_EvaluatesAndSavesWhenDue_AndAtTheEnd()
    {
        var host = new RecordingHost();

        var end = Run(host, evalSteps: 2, saveSteps: 4);

        Assert.Equal(new TrainingEnd(6, Halted: false), end);
        Assert.Equal(["1", "2", "eval 2", "3", "4", "eval 4", "save 4", "5", "6", "eval 6", "save 6"], host.Log);
    }

    [Fact]
    public void Run_NothingDue_EvaluatesAndSavesAtTheEnd()
    {
        var host = new RecordingHost();

        Run(host, evalSteps: 0, saveSteps: 0);

        Assert.Equal(["1", "2", "3", "4", "5", "6", "eval 6", "save 6"], host.Log);
    }

    [Fact]
    public void Run_AskedToHalt_LeavesWhatIsDueToTheNextGeneration()
    {
        var host = new RecordingHost { StopAfter = 2 };

        var end = Run(host, evalSteps: 1, saveSteps: 3);

        Assert.Equal(new TrainingEnd(3, Halted: true), end);
        Assert.Equal(["1", "eval 1", "2", "eval 2", "3"], host.Log);
    }

    [Theory]
    [InlineData(2, 2, "eval 4,save 4,5,6,eval 6,save 6")]
    [InlineData(4, 2, "save 4,5,6,eval 6,save 6")]
    [InlineData(2, 4, "eval 4,5,6,eval 6,save 6")]
    [InlineData(4, 4, "5,6,eval 6,save 6")]
    public void Run_BeginsWhereSomethingWasDueAndNotMade_MakesItFirst(long evaluated, long saved, string expected)
    {
        var host = new RecordingHost();

        Run(host, evalSteps: 2, saveSteps: 2, firstStep: 4, evaluated, saved);

        Assert.Equal(expected.Split(','), host.Log);
    }

    [Fact]
    public void Run_BeginsWhereNothingIsDue_JustTrains()
    {
        var host = new RecordingHost();

        Run(host, evalSteps: 2, saveSteps: 2, firstStep: 3, evaluated: -1, saved: -1);

        Assert.Equal("4", host.Log[0]);
    }

    [Theory]
    [InlineData(-1, -1, "eval 6,save 6")]
    [InlineData(6, -1, "save 6")]
    [InlineData(6, 6, "")]
    public void Run_BeginsAtTheLastStep_MakesOnlyWhatTheEndLacks(long evaluated, long saved, string expected)
    {
        var host = new RecordingHost();

        var end = Run(host, evalSteps: 0, saveSteps: 0, firstStep: 6, evaluated, saved);

        Assert.Equal(new TrainingEnd(6, Halted: false), end);
        Assert.Equal(expected, string.Join(',', host.Log));
    }

    [Fact]
    public void Run_AskedToHaltInTheLastStep_HasFinished()
    {
        var host = new RecordingHost { StopAfter = 5 };

        Assert.False(Run(host, evalSteps: 0, saveSteps: 0).Halted);
    }

    [Theory]
    [InlineData(3, true)]
    [InlineData(3, false)]
    [InlineData(6, true)]
    public void Run_StatesDifferWhereACheckpointIsDue_NobodySavesIt(int saveSteps, bool verified)
    {
        var job = TinyJobs.Decoder with { SaveSteps = saveSteps, VerifySteps = verified ? 100 : 0 };

        var logs = new SimulatedCluster(2, job.Lanes).Run(exchange =>
        {
            using var data = TinyJobs.Data(job);
            using var trainer = TinyJobs.Trainer(job);
            var host = new RecordingHost { AfterStep = step => { if (step == 2 && exchange.Lanes.First > 0) Corrupt(trainer); } };
            TrainingLoop.Run(trainer, data, exchange, host);
            return string.Join(',', host.Log);
        });

        var (three, six) = verified ? ("differ 3", "differ 6") : ("save 3", "save 6");
        Assert.All(logs, log => Assert.Equal(saveSteps == 3 ? $"1,2,3,{three},4,5,6,eval 6,{six}" : $"1,2,3,4,5,6,eval 6,{six}", log));
    }

    [Fact]
    public void Run_StatesAreEqual_AllSave()
    {
        var job = TinyJobs.Decoder with { SaveSteps = 3 };

        var logs = new SimulatedCluster(3, job.Lanes).Run(exchange =>
        {
            using var data = TinyJobs.Data(job);
            using var trainer = TinyJobs.Trainer(job);
            var host = new RecordingHost();
            TrainingLoop.Run(trainer, data, exchange, host);
            return string.Join(',', host.Log);
        });

        Assert.All(logs, log => Assert.Equal("1,2,3,save 3,4,5,6,eval 6,save 6", log));
    }

    private static void Corrupt(Trainer trainer)
    {
        var weights = trainer.Weights;
        using (torch.no_grad())
            weights[0].Value.add_(1e-3f);
        foreach (var weight in weights)
            weight.Value.Dispose();
    }

    private static TrainingEnd Run(RecordingHost host, int evalSteps, int saveSteps, long firstStep = 0, long evaluated = -1, long saved = -1)
    {
        var job = TinyJobs.Decoder with { EvalSteps = evalSteps, SaveSteps = saveSteps };
        using var data = TinyJobs.Data(job);
        using var exchange = new LocalExchange(job.Lanes);
        using var trainer = TinyJobs.Trainer(job);
        while (trainer.Step < firstStep)
            trainer.RunStep(data, exchange, stopRequested: false);
        return TrainingLoop.Run(trainer, data, exchange, host, evaluated, saved);
    }

    private sealed class RecordingHost : ITrainingHost
    {
        public List<string> Log { get; } = [];

        public long StopAfter { get; init; } = long.MaxValue;

        public Action<long> AfterStep { get; init; } = _ => { };

        public bool StopRequested => Log.Count(line => char.IsDigit(line[0])) >= StopAfter;

        public void OnStep(StepResult result)
        {
            Log.Add($"{result.Step}");
            AfterStep(result.Step);
        }

        public void OnStatesDiffer(long step, string hash) => Log.Add($"differ {step}");

        public void OnEvaluation(EvaluationResult result) => Log.Add($"eval {result.Step}");

        public void SaveCheckpoint(Trainer trainer) => Log.Add($"save {trainer.Step}");
    }
}
