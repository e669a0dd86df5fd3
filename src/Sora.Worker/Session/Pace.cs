using Sora.Model.Training;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;

namespace Sora.Worker.Session;

/// <summary>What the steps since the last heartbeat took here.</summary>
internal sealed class Pace
{
    private long _generation;
    private uint _steps;
    private double _computeSeconds;
    private double _waitSeconds;

    public void Add(long generation, StepResult step)
    {
        if (generation != _generation)
            Forget(generation);
        _steps++;
        _computeSeconds += step.ComputeSeconds + step.DataSeconds;
        _waitSeconds += step.ExchangeSeconds;
    }

    /// <summary>The heartbeat that tells them; the next one begins anew.</summary>
    public Heartbeat Beat(WorkerProtocolState state)
    {
        var beat = new Heartbeat
        {
            Step = (ulong)Math.Max(0, state.Step),
            Generation = (ulong)_generation,
            Steps = _steps,
            ComputeSeconds = _computeSeconds,
            WaitSeconds = _waitSeconds,
        };
        Forget(_generation);
        return beat;
    }

    private void Forget(long generation) => (_generation, _steps, _computeSeconds, _waitSeconds) = (generation, 0, 0, 0);
}
