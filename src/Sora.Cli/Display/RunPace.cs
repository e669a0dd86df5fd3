using Sora.Protocol.Runs;

namespace Sora.Cli.Display;

/// <summary>Guesses when a run ends, from the wall clock, so that evaluations and checkpoints count too.</summary>
internal sealed class RunPace(TimeProvider clock)
{
    private long _firstStep;
    private long _maxSteps;
    private long? _firstCommit;
    private long _firstCommitted;

    /// <summary>The run's last step.</summary>
    public long MaxSteps => _maxSteps;

    /// <summary>The step this execution started from.</summary>
    public long FirstStep => _firstStep;

    public void Start(RunStarted started) => (_firstStep, _maxSteps) = (started.FirstStep, started.MaxSteps);

    /// <summary>Time left after a step, or null before there is anything to tell from.</summary>
    public TimeSpan? Left(StepCommitted step)
    {
        if (_firstCommit is not { } first)
        {
            (_firstCommit, _firstCommitted) = (clock.GetTimestamp(), step.Step);
            return step.TokensPerSecond > 0 && step.Tokens > 0 ? TimeSpan.FromSeconds((_maxSteps - step.Step) * (step.Tokens / step.TokensPerSecond)) : null;
        }
        var done = step.Step - _firstCommitted;
        return done > 0 ? clock.GetElapsedTime(first) / done * (_maxSteps - step.Step) : null;
    }
}
