using Sora.Protocol.Jobs;

namespace Sora.Federation.Rounds;

// Who is there, who may take part, and what whoever dials in is told.
public static partial class RoundCoordinator
{
    private static void Arrive(Turn turn, SiteHello hello)
    {
        var before = turn.State.Sites.GetValueOrDefault(hello.Site);
        var site = new SiteState(hello, Linked: true) { Unfit = hello.Unfit, Draining = hello.Draining, WorksOn = Resumed(turn, hello) };
        turn.Update(hello.Site, site);
        // Another process may do what the one before could not, or would not.
        if (before?.Hello.Incarnation != hello.Incarnation && turn.State.Round is { } round && round.Secure is null)
            turn.Update(round with { Answers = round.Answers.Remove(hello.Site) });
        if (turn.State.Barred.TryGetValue(hello.Site, out var banned))
        {
            turn.Show(new SiteTurnedAway(hello.Site, banned));
            TellBanned(turn, hello.Site, banned);
            return;
        }
        if (hello.Unfit.Length > 0)
            turn.Show(new SiteTurnedAway(hello.Site, hello.Unfit));
        else if (before is not { Linked: true } || before.Hello.Incarnation != hello.Incarnation)
            turn.Show(new SiteJoined(hello.Site));
        Inform(turn, hello.Site);
        if (hello.WorkingOn is { } work && !turn.Run.Asynchronous && IsOver(turn, work))
            turn.Tell(hello.Site, new RoundOver(turn.Run.Run, work, Late(turn)));
    }

    /// <summary>Tells a site what is wanted of it now, if anything is.</summary>
    private static void Inform(Turn turn, string site)
    {
        if (turn.State is { Phase: RoundPhase.Open, Round: { } round })
            InformOfRound(turn, round, site);
        else if (turn.State.Phase == RoundPhase.Evaluating && turn.State.LastCohort.Contains(site) && !turn.State.Evaluations.ContainsKey(site) && MayAct(turn, site))
            turn.Tell(site, new EvaluateModel(turn.Run.Run, turn.State.Model));
    }

    private static void InformOfRound(Turn turn, OpenRound round, string site)
    {
        if (!MayAct(turn, site) || IsOut(round, site))
            return;
        if (turn.Run.Asynchronous)
        {
            if (turn.State.Sites[site].WorksOn is { } work)
                turn.Tell(site, Announcement(turn, work, BaseOf(turn, work)));
        }
        else if (round.Secure is { } secure)
        {
            if (!secure.Asked.Contains(site) || secure.Answered.Contains(site))
                return;
            turn.Tell(site, Announcement(turn, round.Key, round.Base));
            turn.Tell(site, Opening(turn, round.Key, secure));
        }
        else if (round.Cohort.Sites.Contains(site) && !round.Updates.ContainsKey(site))
        {
            turn.Tell(site, Announcement(turn, round.Key, round.Base));
        }
    }

    private static RoundAnnounced Announcement(Turn turn, RoundKey key, ModelVersion model) => new(
        turn.Run.Run, key, model, turn.Settings.LocalSteps, turn.Settings.LocalEpochs, Remaining(turn), turn.Run.Chunks, turn.Run.Secure);

    private static TimeSpan Remaining(Turn turn)
    {
        var round = turn.State.Round!;
        var left = Deadline(turn) * (round.Extended ? 2 : 1) - (turn.Now - round.OpenedAt);
        return left < TimeSpan.FromSeconds(1) ? TimeSpan.FromSeconds(1) : left;
    }

    private static TimeSpan Deadline(Turn turn) => TimeSpan.FromSeconds(turn.Settings.RoundDeadline);

    private static void Lose(Turn turn, SiteLost lost)
    {
        if (!turn.State.Sites.TryGetValue(lost.Site, out var site) || !site.Linked)
            return;
        turn.Update(lost.Site, site with { Linked = false, WorksOn = null });
        turn.Show(new SiteGone(lost.Site, lost.Reason));
    }

    private static void Ban(Turn turn, SiteBanned banned)
    {
        if (turn.State.Barred.ContainsKey(banned.Site))
            return;
        var masked = turn.State is { Phase: RoundPhase.Open, Round: { Secure: not null } round } && round.Updates.ContainsKey(banned.Site);
        turn.Record(new SiteBarred(banned.Site, banned.Reason));
        turn.Show(new SiteTurnedAway(banned.Site, banned.Reason));
        TellBanned(turn, banned.Site, banned.Reason);
        // What is inside a masked sum cannot be taken out of it.
        if (masked)
            Abandon(turn, $"site {banned.Site} was shut out and its masked update is in the sum");
    }

    private static void TellBanned(Turn turn, string site, string reason) =>
        turn.Tell(site, new Dismissed(turn.Run.Run, $"site {site} is shut out of the run: {reason}", ExitCode.Failure));

    private static void HearRefusal(Turn turn, string site, RoundRefused refused)
    {
        // Who may not tell what it measures says so, and is not waited for.
        if (turn.State.Phase == RoundPhase.Evaluating && refused.Round.Round == turn.State.Model.Number)
            HearEvaluation(turn, site, new ModelEvaluated(refused.Run, refused.Round.Round, double.NaN, Examples: 0));
        if (refused.ForJob && turn.State.Sites.TryGetValue(site, out var known) && known.Unfit.Length == 0)
        {
            turn.Update(site, known with { Unfit = refused.Reason });
            turn.Show(new SiteTurnedAway(site, refused.Reason));
        }
        Answer(turn, site, refused.Round, SiteAnswer.Refused, refused.Reason);
    }

    private static void Answer(Turn turn, string site, RoundKey key, SiteAnswer answer, string reason)
    {
        if (turn.Run.Asynchronous && turn.State.Sites.TryGetValue(site, out var known) && known.WorksOn == key && answer != SiteAnswer.Accepted)
            turn.Update(site, known with { WorksOn = null });
        if (turn.State is not { Phase: RoundPhase.Open, Round: { } round } || round.Key != key || !(turn.Run.Asynchronous || round.Cohort.Sites.Contains(site)))
        {
            if (answer == SiteAnswer.Accepted && IsOver(turn, key) && !turn.Run.Asynchronous)
                turn.Tell(site, new RoundOver(turn.Run.Run, key, Late(turn)));
            return;
        }
        if (!IsOut(round, site) || (answer == SiteAnswer.Accepted && round.Secure is null))
        {
            turn.Update(round with { Answers = round.Answers.SetItem(site, (answer, reason)) });
            if (answer != SiteAnswer.Accepted)
                turn.Show(new SiteDeclined(site, key.Round, key.Attempt, reason));
        }
        // It may not have known the round when its first stage opened.
        if (answer == SiteAnswer.Accepted && round.Secure is { } secure && secure.Asked.Contains(site) && !secure.Answered.Contains(site))
            turn.Tell(site, Opening(turn, key, secure));
    }

    private static bool IsOut(OpenRound round, string site) => round.Answers.TryGetValue(site, out var said) && said.Answer != SiteAnswer.Accepted;

    /// <summary>It is there, its policy permits the job, and nobody has shut it out.</summary>
    private static bool MayAct(Turn turn, string site) =>
        turn.State.Sites.TryGetValue(site, out var known) && known is { Linked: true, Unfit.Length: 0 } && !turn.State.Barred.ContainsKey(site);

    /// <summary>Nothing will come of it in this attempt, unless it comes back.</summary>
    private static bool IsGone(Turn turn, OpenRound round, string site) =>
        NeverComes(turn, round, site) || (turn.State.Sites.TryGetValue(site, out var known) && !known.Linked);

    /// <summary>Nothing will come of it in this attempt. Of whom nothing was heard since a restart of the coordinator something may.</summary>
    private static bool NeverComes(Turn turn, OpenRound round, string site) =>
        IsOut(round, site) || turn.State.Barred.ContainsKey(site) || (turn.State.Sites.TryGetValue(site, out var known) && known.Unfit.Length > 0);

    private static bool IsOver(Turn turn, RoundKey key) => turn.State.Round?.Key != key || turn.State.Phase != RoundPhase.Open;

    private static string Late(Turn turn) => turn.State switch
    {
        { Phase: RoundPhase.Open, Round: { } round } => $"{round.Key} is open now",
        { Phase: RoundPhase.Aggregating, Round: { } round } => $"{round.Key} is closed",
        _ => $"no round is open; the newest global model is number {turn.State.Model.Number}",
    };

    private static void Remind(Turn turn)
    {
        if (turn.State.Phase is not (RoundPhase.Open or RoundPhase.Evaluating))
            return;
        foreach (var site in turn.State.Sites.Keys)
            Inform(turn, site);
        StartReminder(turn);
    }

    // Several times before any deadline, however short.
    private static void StartReminder(Turn turn) =>
        turn.Start(RoundTimer.Reminder, TimeSpan.FromSeconds(Math.Min(ReminderInterval.TotalSeconds, turn.Settings.RoundDeadline / 4)));

    /// <summary>The run is over, and a site speaks that has not heard so.</summary>
    private static void SendHome(Turn turn, RoundEvent happened)
    {
        var site = happened switch
        {
            SiteArrived arrived when arrived.Hello.Run == turn.Run.Run => arrived.Hello.Site,
            SiteSaid said when said.Message.Run == turn.Run.Run => said.Site,
            _ => null,
        };
        if (site is not null)
            turn.Tell(site, Farewell(turn));
    }
}
