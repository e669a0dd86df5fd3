using Sora.Protocol.Jobs;

namespace Sora.Model.Training;

/// <summary>The learning rate of a step: a pure function of the job and the step.</summary>
public static class Schedule
{
    /// <summary>
    /// Linear warm-up from 0 (not used) to the peak, then the job's shape down towards the minimum. As in Hugging Face's schedules
    /// the minimum, which may be 0, would be that of the step after the last: no step is wasted on it.
    /// </summary>
    /// <param name="job">The job.</param>
    /// <param name="step">Step, from 0.</param>
    public static double LearningRate(TrainingJob job, long step)
    {
        var warmup = WarmupSteps(job);
        if (step < warmup)
            return job.LearningRate * (step + 1) / warmup;
        var progress = Math.Clamp((step - warmup) / (double)Math.Max(1, job.MaxSteps - warmup), 0, 1);
        var remaining = job.LrSchedulerType switch
        {
            SchedulerKind.Linear => 1 - progress,
            SchedulerKind.Cosine => 0.5 * (1 + Math.Cos(Math.PI * progress)), // Loshchilov and Hutter 2017, without restarts
            _ => 1,
        };
        return job.LrSchedulerType == SchedulerKind.Constant
            ? job.LearningRate
            : job.MinLearningRate + (job.LearningRate - job.MinLearningRate) * remaining;
    }

    /// <summary>Steps of warm-up; the job may give a share of all steps.</summary>
    public static long WarmupSteps(TrainingJob job) =>
        (long)(job.WarmupSteps < 1 ? Math.Round(job.WarmupSteps * job.MaxSteps) : job.WarmupSteps);
}
