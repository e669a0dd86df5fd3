namespace Sora.Model.Training;

/// <summary>A committed step.</summary>
/// <param name="Step">Steps committed so far, this one included: 1 after the first.</param>
/// <param name="Loss">Mean cross-entropy over all lanes' target tokens, in nats, before the update.</param>
/// <param name="GradNorm">Global norm of the gradient before clipping.</param>
/// <param name="LearningRate">Learning rate of the update.</param>
/// <param name="Tokens">Target tokens of all lanes.</param>
/// <param name="StopRequested">Some worker was asked to halt after this step; the same on all of them.</param>
/// <param name="ComputeSeconds">Forward, backward and the update.</param>
/// <param name="ExchangeSeconds">Inside the exchange, waiting for slower peers included.</param>
/// <param name="DataSeconds">Waiting for training data.</param>
public sealed record StepResult(
    long Step, double Loss, double GradNorm, double LearningRate, long Tokens, bool StopRequested,
    double ComputeSeconds, double ExchangeSeconds, double DataSeconds)
{
    /// <summary>All of it.</summary>
    public double StepSeconds => ComputeSeconds + ExchangeSeconds + DataSeconds;
}

/// <summary>An evaluation on held-out text.</summary>
/// <param name="Step">Steps committed when it was made.</param>
/// <param name="Loss">Mean cross-entropy, in nats a token.</param>
/// <param name="BitsPerByte">Cross-entropy in bits a byte of UTF-8 text: comparable between tokenizers.</param>
/// <param name="Tokens">Target tokens it is over.</param>
public sealed record EvaluationResult(long Step, double Loss, double BitsPerByte, long Tokens);

/// <summary>How a run of the training loop ended.</summary>
/// <param name="Step">Steps committed.</param>
/// <param name="Halted">Before the last step, because some worker was asked to.</param>
public readonly record struct TrainingEnd(long Step, bool Halted);
