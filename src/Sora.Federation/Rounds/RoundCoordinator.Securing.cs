namespace Sora.Federation.Rounds;

// The stages of a secure round: who is still in. What is in their messages is other people's business.
public static partial class RoundCoordinator
{
    private static void HearStage(Turn turn, string site, StageAnswered said)
    {
        if (turn.State is { Phase: RoundPhase.Open, Round: { Secure: { } secure } round } && round.Key == said.Round && secure.Stage == said.Stage
            && said.Stage != SecureStage.MaskedInput && secure.Asked.Contains(site) && !NeverComes(turn, round, site))
            turn.Update(round with { Secure = secure with { Answered = secure.Answered.Add(site) } });
    }

    private static void ReconsiderStage(Turn turn, OpenRound round, SecureProgress secure)
    {
        var missing = secure.Asked.Where(site => !secure.Answered.Contains(site)).ToList();
        var needed = Needed(round, secure);
        if (secure.Answered.Count + missing.Count(site => !NeverComes(turn, round, site)) < needed)
            Abandon(turn, $"fewer than {Plural(needed, "site")} can finish stage {Name(secure.Stage)}");
        else if (secure.Answered.Count >= needed && missing.TrueForAll(site => IsGone(turn, round, site)))
            CloseStage(turn, round, secure);
    }

    private static void StagePassed(Turn turn, SecureStage stage)
    {
        if (turn.State.Round is not { Secure: { } secure } round || secure.Stage != stage)
            return;
        if (secure.Answered.Count >= Needed(round, secure))
            CloseStage(turn, round, secure);
        else
            Abandon(turn, $"{Plural(secure.Answered.Count, "site")} of the {Needed(round, secure)} it needs finished stage {Name(stage)} in time");
    }

    /// <summary>Whoever has not answered is out. The updates of those who drop out after the masked input stay in the sum.</summary>
    private static void CloseStage(Turn turn, OpenRound round, SecureProgress secure)
    {
        var dropped = secure.Asked.Except(secure.Answered);
        turn.Show(new SecureStageClosed(round.Key.Round, round.Key.Attempt, Name(secure.Stage), [.. secure.Answered], [.. dropped]));
        foreach (var site in dropped.Where(turn.IsLinked))
            turn.Tell(site, new RoundOver(turn.Run.Run, round.Key, $"stage {Name(secure.Stage)} is closed"));
        if (secure.Stage == SecureStage.Unmask)
        {
            Close(turn);
            return;
        }
        var next = secure with { Stage = secure.Stage + 1, Asked = secure.Answered, Answered = RoundCoordinatorState.NoNames };
        turn.Update(round with { Secure = next });
        turn.Start(RoundTimer.Stage, StageDeadline(turn, next.Stage), next.Stage);
        foreach (var site in next.Asked.Where(turn.IsLinked))
            turn.Tell(site, Opening(turn, round.Key, next));
    }

    private static StageOpened Opening(Turn turn, RoundKey key, SecureProgress secure) =>
        new(turn.Run.Run, key, secure.Stage, [.. secure.Asked], StageDeadline(turn, secure.Stage));

    private static int Needed(OpenRound round, SecureProgress secure) =>
        secure.Stage == SecureStage.MaskedInput ? Math.Max(secure.Threshold, round.Cohort.Quorum) : secure.Threshold;

    private static TimeSpan StageDeadline(Turn turn, SecureStage stage) =>
        stage == SecureStage.MaskedInput ? Deadline(turn) : TimeSpan.FromSeconds(turn.Settings.SecureAggregation!.StageDeadline);

    private static string Name(SecureStage stage) => stage switch
    {
        SecureStage.AdvertiseKeys => "advertise_keys",
        SecureStage.ShareKeys => "share_keys",
        SecureStage.MaskedInput => "masked_input",
        SecureStage.Consistency => "consistency",
        _ => "unmask",
    };
}
