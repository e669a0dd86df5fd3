namespace Sora.Federation.Rounds;

// Asynchronous rounds: a buffer instead of a cohort.
public static partial class RoundCoordinator
{
    private static void ReconsiderBuffer(Turn turn)
    {
        var round = turn.State.Round!;
        if (round.Updates.Count >= round.Cohort.Quorum)
        {
            Close(turn);
            return;
        }
        DropStaleWork(turn);
        foreach (var (name, site) in turn.State.Sites)
        {
            // Whoever is in the buffer already gets the model that comes of it: on this one it would count twice.
            if (site.WorksOn is not null || site.Draining || !MayAct(turn, name) || IsOut(round, name) || round.Updates.ContainsKey(name) || IsUsed(turn, round.Key, name))
                continue;
            turn.Update(name, site with { WorksOn = round.Key });
            turn.Tell(name, Announcement(turn, round.Key, round.Base));
        }
    }

    /// <summary>What a site trains on may be too old to count by now: it is free for the newest model.</summary>
    private static void DropStaleWork(Turn turn)
    {
        foreach (var (name, site) in turn.State.Sites.Where(site => site.Value.WorksOn is { } work && IsStale(turn, work)))
            turn.Update(name, site with { WorksOn = null });
    }

    /// <summary>A buffer that fills slowly is waited for. One that stands still is given up, so that those who declined are asked anew; who trains for it goes on.</summary>
    private static void BufferDeadlinePassed(Turn turn, OpenRound round)
    {
        var counted = round.Updates.Count;
        if (counted == round.CountedAtDeadline)
        {
            Abandon(turn, $"no update came within its deadline, and its buffer holds {counted} of {round.Cohort.Quorum}");
            return;
        }
        turn.Update(round with { CountedAtDeadline = counted });
        turn.Show(new RoundWaiting(round.Key.Round, turn.State.Sites.Keys.Count(site => MayAct(turn, site)), turn.Settings.MinAvailableSites, $"The buffer of {round.Key} holds {counted} of {Plural(round.Cohort.Quorum, "update")}."));
        turn.Start(RoundTimer.Deadline, Deadline(turn));
    }

    private static (Verdict Verdict, string Reason) JudgeForBuffer(Turn turn, UpdateId id)
    {
        var state = turn.State;
        if (id.Round > state.LastKey || id.Round.Round < 1 || id.Round.Attempt < 1)
            return (Verdict.Refuse, $"it is for {id.Round}, which was never opened");
        if (state.Used.TryGetValue(id.Round, out var used) && used.TryGetValue(id.Site, out var hash))
            return hash == id.Sha256 ? (Verdict.Have, "") : (Verdict.Refuse, $"another update of site {id.Site} counts already for {id.Round}");
        if (IsStale(turn, id.Round))
            return (Verdict.Refuse, $"it is {Plural(state.Model.Number - (id.Round.Round - 1), "model")} behind, and max_staleness is {turn.Settings.MaxStaleness}");
        // The next buffer takes it; the site offers it again.
        return state is { Phase: RoundPhase.Open, Round: { } round } && !round.Updates.ContainsKey(id.Site) ? (Verdict.Take, "") : (Verdict.Later, "");
    }

    private static bool IsStale(Turn turn, RoundKey key) => turn.State.Model.Number - (key.Round - 1) > turn.Settings.MaxStaleness;

    private static bool IsUsed(Turn turn, RoundKey key, string site) => turn.State.Used.TryGetValue(key, out var used) && used.ContainsKey(site);

    private static ModelVersion BaseOf(Turn turn, RoundKey key) =>
        key.Round - 1 == turn.State.Model.Number ? turn.State.Model : turn.State.OlderModels[key.Round - 1];

    /// <summary>What a site that dials in goes on with: its own work, unless it is worth nothing any more.</summary>
    private static RoundKey? Resumed(Turn turn, SiteHello hello) =>
        turn.Run.Asynchronous && hello.WorkingOn is { } key && key.Round >= 1 && key <= turn.State.LastKey && !IsStale(turn, key) && !IsUsed(turn, key, hello.Site)
        && (key.Round - 1 == turn.State.Model.Number || turn.State.OlderModels.ContainsKey(key.Round - 1))
            ? key : null;
}
