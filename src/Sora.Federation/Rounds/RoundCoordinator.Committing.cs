using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Federation.Rounds;

// From the closed set of updates to the next model, its evaluation, and the end.
public static partial class RoundCoordinator
{
    private static void Commit(Turn turn, RoundAggregated aggregated)
    {
        if (!IsInHand(turn, aggregated.Round, RoundPhase.Aggregating))
            return;
        var round = turn.State.Round!;
        var updates = round.Updates.Values.Where(update => !aggregated.Outliers.ContainsKey(update.Id.Site)).ToList();
        var loss = Mean(updates.Select(update => (update.Loss, update.Weight))) ?? double.NaN;
        turn.Record(new ModelCommitted(round.Key, new ModelVersion(round.Base.Number + 1, aggregated.Sha256), loss));
        turn.Show(new RoundCommitted(
            round.Key.Round, round.Key.Attempt, aggregated.Sha256, [.. Shares(turn, round, aggregated)], loss, Seconds(turn, round), turn.State.Epsilon));
        Settle(turn, round.Key);
        turn.Do(new DiscardUpdates([.. round.Updates.Values.Select(update => update.Id)]));
        if (turn.State.Phase != RoundPhase.Evaluating)
            return;
        turn.Start(RoundTimer.Evaluation, Deadline(turn));
        StartReminder(turn);
        foreach (var site in turn.State.LastCohort)
            Inform(turn, site);
    }

    private static IEnumerable<SiteShare> Shares(Turn turn, OpenRound round, RoundAggregated aggregated)
    {
        foreach (var site in round.Cohort.Sites.Union(round.Updates.Keys).Order(StringComparer.Ordinal))
        {
            if (round.Updates.TryGetValue(site, out var update))
            {
                var outlier = aggregated.Outliers.GetValueOrDefault(site);
                yield return new SiteShare(site, outlier is null ? "counted" : "outlier", outlier ?? "", update.Loss, update.Weight, update.Staleness, update.Seconds);
            }
            else if (!turn.Run.Asynchronous || IsOut(round, site))
            {
                var (outcome, reason) = Fate(turn, round, site);
                yield return new SiteShare(site, outcome, reason, null, null, null, null);
            }
        }
    }

    private static double? Mean(IEnumerable<(double Value, double Weight)> values)
    {
        var (sum, weights) = (0.0, 0.0);
        foreach (var (value, weight) in values.Where(one => double.IsFinite(one.Value)))
            (sum, weights) = (sum + value * weight, weights + weight);
        return weights > 0 ? sum / weights : null;
    }

    private static void HearEvaluation(Turn turn, string site, ModelEvaluated evaluated)
    {
        if (turn.State.Phase == RoundPhase.Evaluating && evaluated.Version == turn.State.Model.Number && turn.State.LastCohort.Contains(site) && evaluated.Examples >= 0)
            turn.State = turn.State with { Evaluations = turn.State.Evaluations.SetItem(site, evaluated) };
    }

    private static void ReconsiderEvaluation(Turn turn)
    {
        var state = turn.State;
        if (state.StopReason.Length > 0 || state.LastCohort.All(site => state.Evaluations.ContainsKey(site) || state.Barred.ContainsKey(site) || (state.Sites.ContainsKey(site) && !MayAct(turn, site))))
            CloseEvaluation(turn);
    }

    private static void CloseEvaluation(Turn turn)
    {
        var (version, evaluations) = (turn.State.Model.Number, turn.State.Evaluations);
        var loss = Mean(evaluations.Values.Select(evaluated => (evaluated.Loss, evaluated.Examples)));
        turn.Record(new EvaluationClosed(version, loss));
        turn.Do(new StopTimer(RoundTimer.Evaluation));
        turn.Do(new StopTimer(RoundTimer.Reminder));
        turn.Show(new RoundEvaluated(version, loss, [.. evaluations.Where(site => double.IsFinite(site.Value.Loss)).Select(site => new SiteEvaluation(site.Key, site.Value.Loss, site.Value.Examples))]));
    }

    private static void BeginEnding(Turn turn, RunEvent outcome) => turn.State = turn.State with { Phase = RoundPhase.Ending, Outcome = outcome };

    /// <summary>The ledger must know what was spent before anybody believes that the run is over.</summary>
    private static void ReconsiderEnding(Turn turn)
    {
        if (!turn.State.Reservations.IsEmpty)
            return;
        var outcome = turn.State.Outcome!;
        turn.Record(new FederationEnded(outcome));
        StopRoundTimers(turn);
        turn.Show(outcome);
        foreach (var site in turn.State.Sites.Keys.Where(turn.IsLinked))
            turn.Tell(site, Farewell(turn));
    }

    private static Dismissed Farewell(Turn turn) => turn.State.Outcome switch
    {
        FederationStopped stopped => new Dismissed(turn.Run.Run, $"the run is stopped: {stopped.Reason}", ExitCode.Resumable),
        FederationFailed failed => new Dismissed(turn.Run.Run, $"the run failed: {failed.Message}", failed.ExitCode),
        _ => new Dismissed(turn.Run.Run, "the run is finished", ExitCode.Ok),
    };
}
