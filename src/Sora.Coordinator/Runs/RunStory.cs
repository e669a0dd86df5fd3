using Sora.Protocol.Generations;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Runs;

/// <summary>
/// What somebody who begins to watch a run must be told first: where it stands, and the steps that they may have missed while
/// they turned to this coordinator.
/// </summary>
internal sealed class RunStory
{
    // As much as workers remember: after a restart of the coordinator they tell it what nobody may have heard.
    internal const int Capacity = 4096;

    private readonly Queue<RunEvent> _progress = new();
    private RunStarted? _started;
    private GenerationFormed? _generation;
    private Evaluated? _evaluation;
    private CheckpointSaved? _checkpoint;
    private RunWaiting? _waiting;
    private RunEvent? _outcome;

    /// <summary>The events to tell, in a sensible order.</summary>
    public IEnumerable<RunEvent> Events
    {
        get
        {
            var forgotten = new RunEvent?[] { _checkpoint, _evaluation }.Where(last => last is not null && !_progress.Contains(last, ReferenceEqualityComparer.Instance));
            return new RunEvent?[] { _started, _generation }.Concat(forgotten).Concat(_progress).Append(_waiting).Append(_outcome).OfType<RunEvent>();
        }
    }

    /// <summary>Something happened.</summary>
    public void Add(RunEvent happened)
    {
        switch (happened)
        {
            case RunStarted started:
                _progress.Clear();
                (_started, _generation, _evaluation, _checkpoint, _waiting, _outcome) = (started, null, null, null, null, null);
                break;
            case GenerationFormed generation: (_generation, _waiting) = (generation, null); break;
            case StepCommitted: Progress(happened); break;
            case Evaluated evaluation: Progress(_evaluation = evaluation); break;
            case CheckpointSaved checkpoint: Progress(_checkpoint = checkpoint); break;
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

    private void Progress(RunEvent happened)
    {
        if (_progress.Count == Capacity)
            _progress.Dequeue();
        _progress.Enqueue(happened);
    }
}
