using System.Collections.Immutable;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Rounds;

// From too few sites to an announced round, and back after an attempt that came to nothing.
public static partial class RoundCoordinator
{
    private static readonly TimeSpan LongestBackoff = TimeSpan.FromMinutes(1);

    private static void ReconsiderGathering(Turn turn)
    {
        var state = turn.State;
        if (state.StopReason.Length > 0)
            BeginEnding(turn, new FederationStopped(state.Model.Number, state.Model.Sha256, state.StopReason));
        else if (state.Model.Number >= turn.Settings.Rounds)
            BeginEnding(turn, new FederationFinished(state.Model.Number, state.Model.Sha256, state.Loss, state.EvalLoss, state.Epsilon));
        else if (!state.BackingOff)
            OpenNext(turn);
    }

    private static void OpenNext(Turn turn)
    {
        var state = turn.State;
        var round = state.Model.Number + 1;
        var attempt = state.LastKey.Round == round ? state.LastKey.Attempt + 1 : 1;
        if (turn.Settings.MaxAttempts > 0 && attempt > turn.Settings.MaxAttempts)
        {
            Fail(turn, $"Round {round} was given up {attempt - 1} times, the last time because {state.LastFailure}. Mend that, or raise federated.max_attempts, and run again.");
            return;
        }
        var eligible = state.Sites.Keys.Where(site => MayAct(turn, site) && !state.Sites[site].Draining).ToList();
        if (eligible.Count < turn.Settings.MinAvailableSites)
        {
            Wait(turn, round, eligible.Count);
            return;
        }
        var willing = eligible.Where(site => !state.Declined.Contains(site)).ToList();
        if (willing.Count >= turn.Settings.MinAvailableSites)
            eligible = willing;
        var cohort = CohortSelection.Choose(turn.Run.Seed, round, eligible, turn.Settings, state.Missing);
        var key = new RoundKey(round, attempt);
        turn.Record(new RoundOpened(key, state.Model, cohort));
        turn.State = turn.State with { SaidWaiting = "" };
        if (turn.State.Phase == RoundPhase.Reserving)
            turn.Do(new ReserveBudget(key));
        else
            Announce(turn);
    }

    private static void Wait(Turn turn, int round, int available)
    {
        var aside = turn.State.Sites.Where(site => !turn.State.Barred.ContainsKey(site.Key)).Select(site => site.Value switch
        {
            { Linked: false } => $"{site.Key} (not connected)",
            { Unfit.Length: > 0 } unfit => $"{site.Key} ({unfit.Unfit})",
            { Draining: true } => $"{site.Key} (wants to leave)",
            _ => "",
        }).Concat(turn.State.Barred.Select(barred => $"{barred.Key} (shut out: {barred.Value})")).Where(site => site.Length > 0);
        var message = $"Round {round} waits for sites: {available} of at least {turn.Settings.MinAvailableSites} can take part.";
        if (string.Join(", ", aside) is { Length: > 0 } not)
            message += $" Not counted: {not}.";
        if (message == turn.State.SaidWaiting)
            return;
        turn.State = turn.State with { SaidWaiting = message };
        turn.Show(new RoundWaiting(round, available, turn.Settings.MinAvailableSites, message));
    }

    private static void HearReserved(Turn turn, BudgetReserved reserved)
    {
        if (!IsInHand(turn, reserved.Round, RoundPhase.Reserving))
            return;
        // Nobody has been told yet: what cannot succeed need not be paid for.
        var round = turn.State.Round!;
        var needed = Math.Max(round.Cohort.Quorum, Threshold(turn.Run, round.Cohort.Sites.Length));
        if (!turn.Run.Asynchronous && round.Cohort.Sites.Count(site => !NeverComes(turn, round, site)) < needed)
        {
            Abandon(turn, $"too few of its cohort are left to make {Plural(needed, "update")}");
            return;
        }
        turn.Record(new BudgetGranted(reserved.Round, reserved.Epsilon));
        Announce(turn);
    }

    private static void HearRefused(Turn turn, BudgetRefused refused)
    {
        if (!IsInHand(turn, refused.Round, RoundPhase.Reserving))
            return;
        Abandon(turn, refused.Reason);
        Fail(turn, $"The privacy budget does not cover {refused.Round}: {refused.Reason} The model of round {turn.State.Model.Number} is the last one this budget pays for.");
    }

    private static void HearSettled(Turn turn, RoundKey key)
    {
        if (turn.State.Reservations.TryGetValue(key, out var spent) && spent is not null)
            turn.Record(new BudgetClosed(key));
    }

    private static void Settle(Turn turn, RoundKey key)
    {
        if (turn.State.Reservations.TryGetValue(key, out var spent) && spent is { } known)
            turn.Do(new SettleBudget(key, known));
    }

    private static void Announce(Turn turn)
    {
        var round = turn.State.Round! with { OpenedAt = turn.Now };
        turn.Update(round);
        turn.Show(new RoundBegan(round.Key.Round, round.Key.Attempt, round.Base.Number, round.Cohort.Sites, round.Cohort.Target, round.Cohort.Quorum, turn.State.Epsilon));
        if (round.Secure is { } secure)
            turn.Start(RoundTimer.Stage, StageDeadline(turn, secure.Stage), secure.Stage);
        else
            turn.Start(RoundTimer.Deadline, Deadline(turn));
        StartReminder(turn);
        if (turn.Run.Asynchronous)
            DropStaleWork(turn);
        foreach (var site in turn.State.Sites.Keys)
            Inform(turn, site);
    }

    private static void Abandon(Turn turn, string reason)
    {
        var round = turn.State.Round!;
        var missing = round.Cohort.Sites.Where(site => !round.Updates.ContainsKey(site)).ToImmutableSortedSet(StringComparer.Ordinal);
        var announced = turn.State.Phase != RoundPhase.Reserving;
        turn.Record(new RoundAbandoned(round.Key, reason, missing, missing.Except(missing.Where(site => !IsOut(round, site)))));
        StopRoundTimers(turn);
        turn.Show(new RoundGivenUp(round.Key.Round, round.Key.Attempt, reason));
        foreach (var site in round.Cohort.Sites.Where(site => announced && !turn.Run.Asynchronous && turn.IsLinked(site)))
            turn.Tell(site, new RoundOver(turn.Run.Run, round.Key, reason));
        if (round.Updates.Count > 0)
            turn.Do(new DiscardUpdates([.. round.Updates.Values.Select(update => update.Id)]));
        Settle(turn, round.Key);
        turn.State = turn.State with { BackingOff = true };
        turn.Start(RoundTimer.Backoff, Backoff(round.Key.Attempt));
    }

    private static TimeSpan Backoff(int attempt) =>
        TimeSpan.FromSeconds(Math.Min(LongestBackoff.TotalSeconds, Math.Pow(2, Math.Min(attempt, 16))));

    private static void StopRoundTimers(Turn turn)
    {
        foreach (var timer in Enum.GetValues<RoundTimer>())
            turn.Do(new StopTimer(timer));
    }

    /// <summary>The journal has told all it knows; sites dial again.</summary>
    private static void Recover(Turn turn)
    {
        turn.Record(new FederationTakenUp());
        turn.Show(new FederationResumed(turn.Run.Run, turn.State.Model.Number, turn.Settings.Rounds));
        foreach (var key in turn.State.Reservations.Keys)
            Settle(turn, key);
        switch (turn.State)
        {
            case { Phase: RoundPhase.Reserving, Round: { } round }:
                turn.Do(new ReserveBudget(round.Key));
                break;
            case { Phase: RoundPhase.Open, Round.Secure: not null }:
                Abandon(turn, "the coordinator was restarted, and the keys of a secure round live in one session only");
                break;
            case { Phase: RoundPhase.Open, Round: { } round }:
                // How long it was down nobody knows: the deadline begins anew.
                turn.Update(round with { OpenedAt = turn.Now });
                turn.Start(RoundTimer.Deadline, Deadline(turn));
                StartReminder(turn);
                break;
            case { Phase: RoundPhase.Aggregating, Round: { } round }:
                turn.Do(new AggregateRound(round.Key, round.Base, [.. round.Updates.Values]));
                break;
            case { Phase: RoundPhase.Evaluating }:
                turn.Start(RoundTimer.Evaluation, Deadline(turn));
                StartReminder(turn);
                break;
        }
    }

    private static void Fail(Turn turn, string message) =>
        BeginEnding(turn, new FederationFailed(turn.State.Model.Number, turn.State.Model.Sha256, message, ExitCode.Failure));
}
