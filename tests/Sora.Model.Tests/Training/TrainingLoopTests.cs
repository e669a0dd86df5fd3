using Sora.Model.Tests.Native;
using Sora.Model.Training;

namespace Sora.Model.Tests.Training;

[Collection(LibtorchCollection.Name)]
public class TrainingLoopTests
{
    [Fact]
    public void Run_EvaluatesAndSavesWhenDue_AndAtTheEnd()
    {
        var host = new RecordingHost();

        var end = Run(host, evalSteps: 2, saveSteps: 4);

        Assert.Equal(new TrainingEnd(6, Stopped: false), end);
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
    public void Run_AskedToStop_SavesAfterTheStep_WithoutEvaluating()
    {
        var host = new RecordingHost { StopAfter = 2 };

        var end = Run(host, evalSteps: 1, saveSteps: 0);

        Assert.Equal(new TrainingEnd(3, Stopped: true), end);
        Assert.Equal(["1", "eval 1", "2", "eval 2", "3", "save 3"], host.Log);
    }

    [Fact]
    public void Run_AskedToStopInTheLastStep_HasFinished()
    {
        var host = new RecordingHost { StopAfter = 5 };

        Assert.False(Run(host, evalSteps: 0, saveSteps: 0).Stopped);
    }

    private static TrainingEnd Run(RecordingHost host, int evalSteps, int saveSteps)
    {
        var job = TinyJobs.Decoder with { EvalSteps = evalSteps, SaveSteps = saveSteps };
        using var data = TinyJobs.Data(job);
        using var exchange = new LocalExchange(job.Lanes);
        using var trainer = TinyJobs.Trainer(job);
        return TrainingLoop.Run(trainer, data, exchange, host);
    }

    private sealed class RecordingHost : ITrainingHost
    {
        public List<string> Log { get; } = [];

        public long StopAfter { get; init; } = long.MaxValue;

        public bool StopRequested => Log.Count(line => char.IsDigit(line[0])) >= StopAfter;

        public void OnStep(StepResult result) => Log.Add($"{result.Step}");

        public void OnEvaluation(EvaluationResult result) => Log.Add($"eval {result.Step}");

        public void SaveCheckpoint(Trainer trainer) => Log.Add($"save {trainer.Step}");
    }
}
