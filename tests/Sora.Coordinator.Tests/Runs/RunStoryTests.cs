using Sora.Coordinator.Runs;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Tests.Runs;

public sealed class RunStoryTests
{
    [Fact]
    public void Steps_and_evaluations_are_told_in_the_order_in_which_they_happened()
    {
        var story = new RunStory();
        RunEvent[] happened = [Step(1), new Evaluated(1, 2, 7.4, 1, 10), Step(2), new CheckpointSaved(1, "/output/checkpoint-1", "ab", 0.1)];
        foreach (var each in happened)
            story.Add(each);

        Assert.Equal(happened, story.Events);
    }

    [Fact]
    public void Only_the_newest_are_kept_and_the_last_of_each_kind()
    {
        var story = new RunStory();
        story.Add(new Evaluated(1, 2, 7.4, 1, 10));
        story.Add(new Evaluated(2, 1.9, 6.7, 1, 10));
        story.Add(new CheckpointSaved(2, "/output/checkpoint-2", "ab", 0.1));
        for (var step = 3; step <= RunStory.Capacity + 10; step++)
            story.Add(Step(step));

        Assert.Equal(2, Assert.Single(story.Events.OfType<CheckpointSaved>()).Step);
        Assert.Equal(2, Assert.Single(story.Events.OfType<Evaluated>()).Step);
        Assert.Equal(Enumerable.Range(11, RunStory.Capacity).Select(step => (long)step), story.Events.OfType<StepCommitted>().Select(step => step.Step));
    }

    private static StepCommitted Step(long step) => new(step, 2, 1, 0.1, 100, 2, 10, 0.1, 0.1, 0);
}
