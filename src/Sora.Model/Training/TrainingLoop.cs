using Sora.Model.Data;
using Sora.Protocol.Exchange;

namespace Sora.Model.Training;

/// <summary>The training loop.</summary>
public static class TrainingLoop
{
    /// <summary>
    /// Trains from the trainer's step to the job's last, or until some worker is asked to halt. What to do after which step
    /// follows from the job, the step and the two arguments below alone, which are the same on all workers: evaluations
    /// are collective.
    /// </summary>
    /// <param name="trainer">Stands at the first step.</param>
    /// <param name="data">Training and held-out data.</param>
    /// <param name="exchange">Connects the workers.</param>
    /// <param name="host">The process around.</param>
    /// <param name="evaluatedStep">The last step whose evaluation is known: a break may have come between a commit and what was due after it.</param>
    /// <param name="savedStep">The last step whose checkpoint is known.</param>
    /// <exception cref="ExchangeBrokenException">A peer was lost; the trainer stands at its last committed step.</exception>
    public static TrainingEnd Run(
        Trainer trainer, IBatchSource data, IGradientExchange exchange, ITrainingHost host, long evaluatedStep = -1, long savedStep = -1)
    {
        var job = trainer.Job;
        // Without a step nobody would wait for those who are still taking up the state, and who writes a checkpoint together is
        // known when all are there.
        if (trainer.Step == job.MaxSteps || SaveIsDue())
            trainer.AwaitOthers(exchange);
        DoWhatIsDue();
        while (trainer.Step < job.MaxSteps)
        {
            data.Announce(trainer.Step, exchange.Lanes);
            var result = trainer.RunStep(data, exchange, host.StopRequested);
            host.OnStep(result);
            // What is due after this step is left to the generation that goes on from here.
            if (result.StopRequested && result.Step < job.MaxSteps)
                return new TrainingEnd(result.Step, Halted: true);
            DoWhatIsDue();
        }
        return new TrainingEnd(trainer.Step, Halted: false);

        void DoWhatIsDue()
        {
            if (trainer.Step > evaluatedStep && Due(job.EvalSteps) && trainer.Evaluate(data, exchange) is { } evaluation)
                host.OnEvaluation(evaluation);
            if (SaveIsDue() && Agreed())
                host.SaveCheckpoint(trainer);
        }

        // A checkpoint of a state that is not everybody's would carry one machine's fault on for ever.
        bool Agreed()
        {
            if (job.VerifySteps == 0 || exchange.Lanes.Count == job.Lanes)
                return true;
            var hash = StateHash.Of(trainer.StateRegions());
            if (trainer.AllHold(hash, exchange))
                return true;
            host.OnStatesDiffer(trainer.Step, hash);
            return false;
        }

        bool SaveIsDue() => trainer.Step > savedStep && Due(job.SaveSteps);

        bool Due(int every) => trainer.Step == job.MaxSteps || (every > 0 && trainer.Step > 0 && trainer.Step % every == 0);
    }
}
