namespace Sora.Federation.Rounds;

// The stages of a secure round at the site: in order, each once, and never twice with other participants.
public static partial class RoundSite
{
    private static void HearStage(Turn turn, StageOpened opened)
    {
        var state = turn.State;
        if (!state.Round!.Secure || state.Phase is RoundSitePhase.Idle or RoundSitePhase.Deciding or RoundSitePhase.Declined)
            return;
        if (state.Stages.TryGetValue(opened.Stage, out var participants))
        {
            // With two sets of survivors the coordinator could ask for both secrets of a peer, and unmask its update.
            if (!participants.AsSpan().SequenceEqual(opened.Participants.AsSpan()))
                Fail(turn, $"the coordinator opened stage {opened.Stage} of {opened.Round} twice with other participants; this site does not answer it again");
            else
                Act(turn, opened);
        }
        else if (state.Stages.Count == (int)opened.Stage)
        {
            turn.State = state with { Stages = state.Stages.Add(opened.Stage, opened.Participants) };
            Act(turn, opened);
        }
        else
        {
            Fail(turn, $"the site missed a stage of {opened.Round} before {opened.Stage}");
        }
    }

    private static void Act(Turn turn, StageOpened opened)
    {
        if (opened.Stage != SecureStage.MaskedInput)
            turn.Do(new AnswerStage(opened.Round, opened.Stage, opened.Participants));
        else if (turn.State.Phase == RoundSitePhase.Trained)
            BeginDelivery(turn);
    }
}
