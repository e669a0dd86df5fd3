using Sora.Protocol.Runs;

namespace Sora.Protocol.Tests.Runs;

public sealed class RunEventJsonTests
{
    public static TheoryData<RunEvent> Events =>
    [
        new RunStarted("run", "name", 0, 10, 2, 4, 100, 1000, "cpu", "fp32"),
        new WorkerJoined("w1", "box", 7, "cpu", "ca", true),
        new WorkerRefused("w1", "box", 7, "other numerics"),
        new WorkerLeft("w1", "it was lost"),
        new RunWaiting(1, 2, 7),
        new StepCommitted(7, double.NaN, double.PositiveInfinity, 0.1, 5, 2, 100, 1, 2, 3),
        new Evaluated(7, 2, 7.4, 1.1, 50),
        new CheckpointSaved(7, "/output/checkpoint-7", "ab", 0.5),
        new RunWarning("the disk is \"full\""),
        new RunFinished(10, 1.5, null, "ab", "/output"),
        new RunStopped(8, null, "Ctrl-C"),
        new RunFailed(9, "lost", "w2", null, 1),
    ];

    [Theory]
    [MemberData(nameof(Events))]
    public void An_event_comes_back_as_it_was(RunEvent happened)
    {
        var line = RunEventJson.Write(happened);

        Assert.DoesNotContain('\n', line);
        Assert.Equal(happened, RunEventJson.Read(line));
    }

    [Fact]
    public void A_generation_comes_back_with_its_members()
    {
        var read = Assert.IsType<GenerationFormed>(RunEventJson.Read(RunEventJson.Write(new GenerationFormed(3, ["w1", "w2"], 5))));

        Assert.Equal((3L, 5L), (read.Generation, read.FirstStep));
        Assert.Equal(["w1", "w2"], read.Workers);
    }

    [Fact]
    public void An_event_of_a_later_release_is_passed_over() => Assert.Null(RunEventJson.Read("""{"event":"celebrated","step":3}"""));
}
