namespace Sora.Federation.Rounds;

// Updates: which count, and when there are enough.
public static partial class RoundCoordinator
{
    private enum Verdict
    {
        Take,
        Have,
        Later,
        Refuse,
        Banned,
    }

    private static void HearOffer(Turn turn, string site, UpdateOffer offer)
    {
        // Nobody speaks for another one.
        if (offer.Id.Site != site)
            return;
        var (verdict, reason) = Judge(turn, offer);
        switch (verdict)
        {
            case Verdict.Take: turn.Do(new ReceiveUpdate(site, offer)); break;
            case Verdict.Have: turn.Tell(site, new UpdateAcknowledged(turn.Run.Run, offer.Id)); break;
            case Verdict.Refuse: TurnAway(turn, offer.Id, reason); break;
            case Verdict.Banned: TellBanned(turn, site, reason); break;
        }
    }

    private static void Store(Turn turn, UpdateOffer offer)
    {
        var (id, site) = (offer.Id, offer.Id.Site);
        var (verdict, reason) = Judge(turn, offer);
        switch (verdict)
        {
            case Verdict.Take: Count(turn, offer); break;
            case Verdict.Have: turn.Tell(site, new UpdateAcknowledged(turn.Run.Run, id)); break;
            case Verdict.Refuse:
                TurnAway(turn, id, reason);
                turn.Do(new DiscardUpdates([id]));
                break;
            case Verdict.Banned: TellBanned(turn, site, reason); break;
        }
    }

    private static void Count(Turn turn, UpdateOffer offer)
    {
        var (id, round) = (offer.Id, turn.State.Round!);
        var staleness = turn.State.Model.Number - (id.Round.Round - 1);
        var update = new AcceptedUpdate(id, offer.Weight, offer.Loss, staleness, Seconds(turn, round));
        if (round.Secure is { } secure)
            turn.Update(round with { Updates = round.Updates.SetItem(id.Site, update), Secure = secure with { Answered = secure.Answered.Add(id.Site) } });
        else
            turn.Record(new UpdateAccepted(update));
        turn.Show(new UpdateCounted(id.Site, id.Round.Round, id.Round.Attempt, offer.Loss, offer.Weight, staleness, update.Seconds));
        turn.Tell(id.Site, new UpdateAcknowledged(turn.Run.Run, id));
        Release(turn, id);
    }

    private static double Seconds(Turn turn, OpenRound round) => Math.Max(0, (turn.Now - round.OpenedAt).TotalSeconds);

    private static void TurnAway(Turn turn, UpdateId id, string reason)
    {
        turn.Show(new UpdateTurnedAway(id.Site, id.Round.Round, id.Round.Attempt, reason));
        turn.Tell(id.Site, new UpdateRefused(turn.Run.Run, id, reason));
        Release(turn, id);
    }

    /// <summary>Asynchronous: the site is free for the newest model.</summary>
    private static void Release(Turn turn, UpdateId id)
    {
        if (turn.State.Sites.TryGetValue(id.Site, out var site) && site.WorksOn == id.Round)
            turn.Update(id.Site, site with { WorksOn = null });
    }

    private static void Reject(Turn turn, UpdateRejected rejected)
    {
        var (id, reason) = rejected;
        TurnAway(turn, id, reason);
        turn.Do(new DiscardUpdates([id]));
        if (turn.State is { Phase: RoundPhase.Open, Round: { } round } && round.Key == id.Round && !round.Updates.ContainsKey(id.Site))
            turn.Update(round with { Answers = round.Answers.SetItem(id.Site, (SiteAnswer.Failed, reason)) });
    }

    private static (Verdict Verdict, string Reason) Judge(Turn turn, UpdateOffer offer)
    {
        if (turn.State.Barred.TryGetValue(offer.Id.Site, out var banned))
            return (Verdict.Banned, banned);
        if (!double.IsFinite(offer.Weight) || offer.Weight <= 0)
            return (Verdict.Refuse, "an update needs a positive weight: the number of examples or tokens behind it");
        return turn.Run.Asynchronous ? JudgeForBuffer(turn, offer.Id) : JudgeForRound(turn, offer.Id);
    }

    private static (Verdict Verdict, string Reason) JudgeForRound(Turn turn, UpdateId id)
    {
        if (turn.State.Phase is not (RoundPhase.Open or RoundPhase.Aggregating) || turn.State.Round is not { } round || round.Key != id.Round)
            return (Verdict.Refuse, $"it is for {id.Round}, and {Late(turn)}");
        if (round.Updates.TryGetValue(id.Site, out var counted))
            return counted.Id == id ? (Verdict.Have, "") : (Verdict.Refuse, $"another update of site {id.Site} counts already in {id.Round}");
        if (turn.State.Phase != RoundPhase.Open)
            return (Verdict.Refuse, $"it is for {id.Round}, and {Late(turn)}");
        if (!round.Cohort.Sites.Contains(id.Site))
            return (Verdict.Refuse, $"site {id.Site} was not asked for {id.Round}");
        if (round.Secure is not { } secure)
            return (Verdict.Take, "");
        return secure.Stage < SecureStage.MaskedInput ? (Verdict.Later, "")
            : secure.Stage == SecureStage.MaskedInput && secure.Asked.Contains(id.Site) ? (Verdict.Take, "")
            : (Verdict.Refuse, $"site {id.Site} dropped out of {id.Round} before");
    }

    private static void ReconsiderOpen(Turn turn)
    {
        var round = turn.State.Round!;
        if (turn.State.StopReason.Length > 0)
            Abandon(turn, turn.State.StopReason);
        else if (turn.Run.Asynchronous)
            ReconsiderBuffer(turn);
        else if (round.Secure is { } secure)
            ReconsiderStage(turn, round, secure);
        else
            ReconsiderCohort(turn, round);
    }

    private static void ReconsiderCohort(Turn turn, OpenRound round)
    {
        var (counted, cohort) = (round.Updates.Count, round.Cohort);
        var missing = cohort.Sites.Where(site => !round.Updates.ContainsKey(site)).ToList();
        if (counted >= cohort.Quorum && (counted >= cohort.Target || round.Extended || missing.TrueForAll(site => IsGone(turn, round, site))))
            Close(turn);
        else if (counted + missing.Count(site => !NeverComes(turn, round, site)) < cohort.Quorum)
            Abandon(turn, $"{Plural(counted, "update")} of the {cohort.Quorum} it needs can come: {Because(turn, round)}");
    }

    private static void DeadlinePassed(Turn turn)
    {
        var round = turn.State.Round!;
        var (counted, cohort) = (round.Updates.Count, round.Cohort);
        if (turn.Run.Asynchronous)
        {
            BufferDeadlinePassed(turn, round);
        }
        else if (counted >= cohort.Quorum)
        {
            Close(turn);
        }
        else if (!round.Extended && counted + cohort.Sites.Count(site => !round.Updates.ContainsKey(site) && !IsGone(turn, round, site)) >= cohort.Quorum)
        {
            turn.Update(round with { Extended = true });
            turn.Show(new RoundExtended(round.Key.Round, round.Key.Attempt, counted, cohort.Quorum, turn.Settings.RoundDeadline));
            turn.Start(RoundTimer.Deadline, Deadline(turn));
        }
        else
        {
            Abandon(turn, $"{counted} of the {cohort.Quorum} updates it needs came in time: {Because(turn, round)}");
        }
    }

    private static void Close(Turn turn)
    {
        var round = turn.State.Round!;
        turn.Record(new RoundClosed(round.Key, [.. round.Updates.Values]));
        StopRoundTimers(turn);
        foreach (var site in round.Cohort.Sites.Where(site => !turn.Run.Asynchronous && !round.Updates.ContainsKey(site) && !IsOut(round, site) && turn.IsLinked(site)))
            turn.Tell(site, new RoundOver(turn.Run.Run, round.Key, $"{round.Key} is closed with {Plural(round.Updates.Count, "update")}"));
        turn.Do(new AggregateRound(round.Key, round.Base, [.. round.Updates.Values]));
    }

    private static string Because(Turn turn, OpenRound round) =>
        string.Join("; ", round.Cohort.Sites.Where(site => !round.Updates.ContainsKey(site)).Select(site => $"{site}: {Fate(turn, round, site).Reason}"));

    /// <summary>Why there is no update of a site.</summary>
    private static (string Outcome, string Reason) Fate(Turn turn, OpenRound round, string site)
    {
        if (turn.State.Barred.TryGetValue(site, out var banned))
            return ("banned", banned);
        if (round.Answers.TryGetValue(site, out var said) && said.Answer != SiteAnswer.Accepted)
            return (said.Answer == SiteAnswer.Refused ? "refused" : "failed", said.Reason);
        return turn.IsLinked(site) ? ("late", "its update did not come in time") : ("gone", "it is not connected");
    }

    private static string Plural(int count, string noun) => count == 1 ? $"1 {noun}" : $"{count} {noun}s";
}
