using Sora.Cli.Train;
using Sora.Protocol.Runs;

namespace Sora.Cli.Tests.Train;

public class RunLogTests
{
    private static StepCommitted Step(long step) => new(step, 1.0 / step, 1, 1, 1, 1, 1, 1, 1, 1);

    [Fact]
    public void A_resumed_run_keeps_the_steps_before_and_drops_those_computed_again()
    {
        using var folder = new TemporaryFolder();
        using (var log = RunLog.Open(folder.Path, firstStep: 0))
        {
            for (var step = 1; step <= 5; step++) log.Add(Step(step));
            log.Add(new Evaluated(3, 2, 3, 4, 5));
            log.Add(new Evaluated(5, 2, 3, 4, 5));
        }

        using var resumed = RunLog.Open(folder.Path, firstStep: 3);
        resumed.Add(Step(4));

        Assert.Equal([1, 2, 3, 4], resumed.Steps.Select(step => step.Step));
        Assert.Equal([3], resumed.Evaluations.Select(evaluation => evaluation.Step));
        Assert.Equal(5, File.ReadLines(Path.Combine(folder.Path, "events.jsonl")).Count());
    }

    [Fact]
    public void A_fresh_run_starts_an_empty_log_and_damaged_lines_are_passed_over()
    {
        using var folder = new TemporaryFolder();
        folder.Write("events.jsonl", "{\"event\":\"step\",\"ste\n{\"event\":\"unknown\"}\n");

        using (var resumed = RunLog.Open(folder.Path, firstStep: 3)) Assert.Empty(resumed.Steps);
        using (var log = RunLog.Open(folder.Path, firstStep: 3)) log.Add(Step(1));
        using var fresh = RunLog.Open(folder.Path, firstStep: 0);
        Assert.Empty(fresh.Steps);
    }
}
