using Sora.Protocol.Jobs;

namespace Sora.Model.Privacy;

/// <summary>
/// Differentially private training (Abadi et al. 2016): what each sample contributes to a step is bounded, and noise hides the rest.
/// One sample is one row of a batch, <c>context_length</c> tokens of text; who wants a person or a document protected must bound how
/// many samples come of each.
/// </summary>
public sealed record DpSgdOptions
{
    /// <summary>Shortest secret, in bytes.</summary>
    public const int MinSecretLength = 32;

    /// <summary>
    /// C: the L2 norm, over all trainable values, that the gradient of one sample's mean loss is cut to. May be infinite without
    /// noise.
    /// </summary>
    public required double MaxGradNorm { get; init; }

    /// <summary>Sigma: the noise added once to a step's sum of gradients has standard deviation sigma * C in every value.</summary>
    public required double NoiseMultiplier { get; init; }

    /// <summary>
    /// At least <see cref="MinSecretLength"/> bytes from a cryptographic generator, from which the noise is derived. Whoever has it
    /// can take the noise away again, so it must never leave the site: not into job files, checkpoints or logs. It must outlast the
    /// process, because a step evaluated again after a crash must draw the same noise: with fresh noise the two results together
    /// would tell more than was accounted for.
    /// </summary>
    public required ReadOnlyMemory<byte> Secret { get; init; }

    /// <summary>
    /// Names what is trained (run, round, corpus): another name draws other noise. The same noise on two different gradients would
    /// show their difference, so no two trainings may share both secret and name.
    /// </summary>
    public required string Context { get; init; }

    /// <summary>
    /// What the sum is divided by, in samples; null: the job's global batch size. A constant and not how many samples a step really
    /// had, which differs where they are drawn at random (<see cref="PoissonBatches"/>).
    /// </summary>
    public double? ExpectedBatchSize { get; init; }

    /// <summary>Refuses values that protect nothing.</summary>
    /// <exception cref="SoraException">The message says which.</exception>
    public void Check()
    {
        Require(MaxGradNorm > 0, $"The clipping norm is {MaxGradNorm}; use a positive number");
        Require(double.IsFinite(NoiseMultiplier) && NoiseMultiplier >= 0, $"The noise multiplier is {NoiseMultiplier}; use 0 (no noise, no privacy) or more");
        Require(NoiseMultiplier == 0 || double.IsFinite(MaxGradNorm), "Noise needs a finite clipping norm: what a sample can contribute must be bounded");
        if (NoiseMultiplier > 0)
            CheckSecret();
        Require(ExpectedBatchSize is null or > 0, $"The expected batch size is {ExpectedBatchSize}; use a positive number");
    }

    /// <summary>Refuses a secret that could be guessed.</summary>
    /// <exception cref="SoraException">It is too short.</exception>
    internal void CheckSecret() =>
        Require(Secret.Length >= MinSecretLength, $"The secret of noise and random batches has {Secret.Length} bytes; use {MinSecretLength} or more from a cryptographic generator");

    /// <summary>Says nothing of the secret.</summary>
    public override string ToString() => $"{nameof(DpSgdOptions)} {{ {nameof(MaxGradNorm)} = {MaxGradNorm}, {nameof(NoiseMultiplier)} = {NoiseMultiplier}, {nameof(Context)} = {Context} }}";

    private static void Require(bool holds, string message)
    {
        if (!holds)
            throw new SoraException($"{message}.", ExitCode.Usage);
    }
}
