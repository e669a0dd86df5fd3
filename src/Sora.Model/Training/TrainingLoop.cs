using Sora.Model.Data;
using Sora.Protocol.Exchange;

namespace Sora.Model.Training;

/// <summary>The training loop.</summary>
public static class TrainingLoop
{
    /// <summary>Trains from the trainer's step to the job's last, or until some worker is asked to stop.</summary>
    /// <exception cref="ExchangeBrokenException">A peer was lost; the trainer stands at its last committed step.</exception>
    public static TrainingEnd Run(Trainer trainer, IBatchSource data, IGradientExchange exchange, ITrainingHost host)
    {
        var job = trainer.Job;
        while (trainer.Step < job.MaxSteps)
        {
            data.Announce(trainer.Step, exchange.Lanes);
            var result = trainer.RunStep(data, exchange, host.StopRequested);
            host.OnStep(result);

            var finished = result.Step == job.MaxSteps;
            var stopped = result.StopRequested && !finished;
            if (finished || (Due(result.Step, job.EvalSteps) && !stopped))
            {
                if (trainer.Evaluate(data, exchange) is { } evaluation)
                    host.OnEvaluation(evaluation);
            }
            if (finished || stopped || Due(result.Step, job.SaveSteps))
                host.SaveCheckpoint(trainer);
            if (stopped)
                return new TrainingEnd(result.Step, Stopped: true);
        }
        return new TrainingEnd(trainer.Step, Stopped: false);
    }

    private static bool Due(long step, int every) => every > 0 && step % every == 0;
}
