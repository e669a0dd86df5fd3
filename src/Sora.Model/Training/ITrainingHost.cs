namespace Sora.Model.Training;

/// <summary>What the training loop needs of the process it runs in. Called on the training thread.</summary>
public interface ITrainingHost
{
    /// <summary>This worker was asked to halt after the step now being computed.</summary>
    bool StopRequested { get; }

    /// <summary>A step was committed.</summary>
    void OnStep(StepResult result);

    /// <summary>An evaluation was made; the result is the same on every worker.</summary>
    void OnEvaluation(EvaluationResult result);

    /// <summary>The workers' states differ where a checkpoint is due: there will be none of this step. Every worker is told.</summary>
    /// <param name="step">The step.</param>
    /// <param name="hash">Of this worker's state, as <see cref="StateHash"/> computes it.</param>
    void OnStatesDiffer(long step, string hash);

    /// <summary>Time for a checkpoint. Every worker is told, after all of them have been heard in this generation.</summary>
    void SaveCheckpoint(Trainer trainer);
}
