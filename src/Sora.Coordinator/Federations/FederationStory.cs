using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Federations;

/// <summary>What somebody who begins to watch a federated run must be told first: where it stands, and its newest rounds.</summary>
internal sealed class FederationStory
{
    internal const int Capacity = 4096;

    private readonly Queue<RunEvent> _progress = new();
    private FederationStarted? _started;
    private RunEvent? _now;
    private RunEvent? _outcome;

    /// <summary>The events to tell, in a sensible order.</summary>
    public IEnumerable<RunEvent> Events => new RunEvent?[] { _started }.Concat(_progress).Append(_outcome ?? _now).OfType<RunEvent>();

    /// <summary>Something happened.</summary>
    public void Add(RunEvent happened)
    {
        switch (happened)
        {
            case FederationStarted started: _started = started; break;
            case RoundCommitted:
                _now = null;
                Progress(happened);
                break;
            case RoundEvaluated: Progress(happened); break;
            case RoundBegan or RoundWaiting or RoundGivenUp: _now = happened; break;
            case FederationFinished or FederationStopped or FederationFailed: _outcome = happened; break;
        }
    }

    /// <summary>Something was read from the journal.</summary>
    /// <param name="decision">What.</param>
    /// <param name="after">The state after it.</param>
    public void Add(RoundDecision decision, RoundCoordinatorState after)
    {
        switch (decision)
        {
            case FederationAccepted { Run: { Settings: var settings } run }:
                Add(new FederationStarted(run.Run, settings.Rounds, JobKey.Spell(settings.Mode), settings.Strategy.Name, settings.MinAvailableSites,
                    settings.SecureAggregation is not null, settings.DifferentialPrivacy is not null));
                break;
            case RoundOpened { Round: var key, Cohort: var cohort } opened:
                Add(new RoundBegan(key.Round, key.Attempt, opened.Base.Number, cohort.Sites, cohort.Target, cohort.Quorum, after.Epsilon));
                break;
            case ModelCommitted { Round: var key } committed:
                Add(new RoundCommitted(key.Round, key.Attempt, committed.Model.Sha256, [], committed.Loss, 0, after.Epsilon));
                break;
            case EvaluationClosed evaluation:
                Add(new RoundEvaluated(evaluation.Version, evaluation.Loss, []));
                break;
            case FederationEnded ended:
                Add(ended.Outcome);
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
