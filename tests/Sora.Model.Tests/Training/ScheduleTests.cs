using Sora.Model.Training;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Training;

public class ScheduleTests
{
    private static readonly TrainingJob _job = new() { MaxSteps = 110, LearningRate = 1, MinLearningRate = 0.2, WarmupSteps = 10 };

    [Theory]
    [InlineData(SchedulerKind.Cosine, 0, 0.1)]    // warm-up: 1/10 of the peak
    [InlineData(SchedulerKind.Cosine, 9, 1.0)]    // its last step reaches the peak
    [InlineData(SchedulerKind.Cosine, 10, 1.0)]
    [InlineData(SchedulerKind.Cosine, 60, 0.6)]   // half way: the mean of peak and minimum
    [InlineData(SchedulerKind.Linear, 60, 0.6)]
    [InlineData(SchedulerKind.Linear, 85, 0.4)]   // three quarters
    [InlineData(SchedulerKind.Linear, 109, 0.208)] // the last step: one part in a hundred of the way is left
    [InlineData(SchedulerKind.Constant, 4, 0.5)]
    [InlineData(SchedulerKind.Constant, 109, 1.0)]
    public void LearningRate_HasTheStatedShape(SchedulerKind kind, long step, double expected) =>
        Assert.Equal(expected, Schedule.LearningRate(_job with { LrSchedulerType = kind }, step), 12);

    // transformers.get_cosine_schedule_with_warmup and get_linear_schedule_with_warmup: of T steps with w of warm-up, step t from 0
    // has the factor (1 + cos(pi p)) / 2 or 1 - p with p = (t - w) / (T - w). Here T = 8, w = 0, t = 7: p = 7/8.
    [Theory]
    [InlineData(SchedulerKind.Cosine, 0.03806023374435663)] // (1 + cos(7 pi / 8)) / 2
    [InlineData(SchedulerKind.Linear, 0.125)]
    public void LearningRate_OfTheLastStep_IsHuggingFacesAndNotZero(SchedulerKind kind, double expected) =>
        Assert.Equal(expected, Schedule.LearningRate(new TrainingJob { MaxSteps = 8, LearningRate = 1, LrSchedulerType = kind }, 7), 12);

    [Fact]
    public void LearningRate_Cosine_AtAQuarter() =>
        // progress 0.25: 0.2 + 0.8 * (1 + cos(pi/4)) / 2
        Assert.Equal(0.2 + 0.8 * (1 + Math.Sqrt(0.5)) / 2, Schedule.LearningRate(_job, 35), 12);

    [Theory]
    [InlineData(0, 0)]
    [InlineData(0.1, 11)] // a share of 110 steps
    [InlineData(1, 1)]
    [InlineData(25, 25)]
    public void WarmupSteps_BelowOneAreAShare(double warmup, long expected) =>
        Assert.Equal(expected, Schedule.WarmupSteps(_job with { WarmupSteps = warmup }));

    [Fact]
    public void LearningRate_OneStep_IsThePeak() =>
        Assert.Equal(1, Schedule.LearningRate(_job with { MaxSteps = 1, WarmupSteps = 0 }, 0));
}
