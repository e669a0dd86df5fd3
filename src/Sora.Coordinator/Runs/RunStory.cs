using Sora.Protocol.Generations;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Runs;

/// <summary>What somebody who begins to watch a run must be told first: of each kind of event that still matters, the last.</summary>
internal sealed class RunStory
{
    private RunStarted? _started;
    private GenerationFormed? _generation;
    private StepCommitted? _step;
    private Evaluated? _evaluation;
    private CheckpointSaved? _checkpoint;
    private RunWaiting? _waiting;
    private RunEvent? _outcome;

    /// <summary>The events to tell, in a sensible order.</summary>
    public IEnumerable<RunEvent> Events =>
        new RunEvent?[] { _started, _generation, _checkpoint, _evaluation, _step, _waiting, _outcome }.OfType<RunEvent>();

    /// <summary>Something happened.</summary>
    public void Add(RunEvent happened)
    {
        switch (happened)
        {
            case RunStarted started:
                (_started, _generation, _step, _evaluation, _checkpoint, _waiting, _outcome) = (started, null, null, null, null, null, null);
                break;
            case GenerationFormed generation: (_generation, _waiting) = (generation, null); break;
            case StepCommitted step: _step = step; break;
            case Evaluated evaluation: _evaluation = evaluation; break;
            case CheckpointSaved checkpoint: _checkpoint = checkpoint; break;
            case RunWaiting waiting: _waiting = waiting; break;
            case RunFinished or RunStopped or RunFailed: _outcome = happened; break;
        }
    }

    /// <summary>Something was read from the journal.</summary>
    public void Add(RunDecision decision)
    {
        switch (decision)
        {
            case SubmissionAccepted { Spec: var spec }:
                Add(new RunStarted(spec.Run, spec.Name, spec.FirstStep, spec.MaxSteps, spec.Workers, spec.Lanes, spec.Parameters, spec.TokensPerStep, spec.Device, spec.Dtype));
                break;
            case GenerationDecided { Plan: var plan }:
                Add(new GenerationFormed(plan.Number, [.. plan.Members.Select(member => member.Worker)], plan.FirstStep));
                break;
            case CheckpointTaken taken:
                Add(new CheckpointSaved(taken.Step, taken.Path, taken.WeightsSha256, 0));
                break;
            case RunEnded { Outcome: var outcome }:
                Add(outcome);
                break;
        }
    }
}
