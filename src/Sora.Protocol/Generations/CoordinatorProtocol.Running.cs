using Sora.Protocol.Api;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Generations;

// Reports of computing workers. Every member knows the same totals; whichever report of a step comes first is shown.
public static partial class CoordinatorProtocol
{
    private static bool Computing(CoordinatorState state) => state.Phase is RunPhase.Running or RunPhase.Finishing or RunPhase.Stopping;

    private static void HearStep(Turn turn, StepReport report)
    {
        if (!Computing(turn.State) || !Concerns(turn.State, report.Run, report.Generation) || (long)report.Step <= turn.State.LastReport)
            return;
        turn.State = turn.State with { LastReport = (long)report.Step, LastStep = (long)report.Step, LastLoss = report.Loss };
        var tokensPerSecond = report.StepSeconds > 0 ? report.Tokens / report.StepSeconds : 0;
        turn.Do(new Publish(new StepCommitted(
            (long)report.Step, report.Loss, report.GradNorm, report.LearningRate, tokensPerSecond, turn.State.Workers.Count,
            (long)report.Tokens, report.ComputeSeconds, report.ExchangeSeconds, report.DataSeconds)));
    }

    private static void HearEvaluation(Turn turn, EvaluationReport report)
    {
        if (!Computing(turn.State) || !Concerns(turn.State, report.Run, report.Generation) || (long)report.Step <= turn.State.LastEvaluation)
            return;
        turn.State = turn.State with { LastEvaluation = (long)report.Step, EvalLoss = report.Loss };
        turn.Do(new Publish(new Evaluated((long)report.Step, report.Loss, Math.Exp(report.Loss), report.BitsPerByte, (long)report.Tokens)));
    }

    private static void HearCheckpoint(Turn turn, CheckpointReport report)
    {
        if (!Computing(turn.State) || !Concerns(turn.State, report.Run, report.Generation))
            return;
        if (KeepCheckpoint(turn, (long)report.Step, report.Path, report.WeightsSha256))
            turn.Do(new Publish(new CheckpointSaved((long)report.Step, report.Path, report.WeightsSha256, report.Seconds)));
    }

    private static bool KeepCheckpoint(Turn turn, long step, string path, string weightsSha256)
    {
        if (step <= turn.State.Checkpoint?.Step)
            return false;
        turn.State = turn.State with { Checkpoint = new CheckpointMark(step, path) };
        turn.Do(new RecordDecision(new CheckpointTaken(step, path, weightsSha256)));
        return true;
    }
}
