namespace Sora.Cli.Train;

/// <summary>What <c>sora train</c> was asked besides the job.</summary>
/// <param name="ResumeCommand">The command that goes on with this run, to print when it ends early.</param>
/// <param name="Resume"><c>auto</c>, <c>true</c>, <c>false</c> or a checkpoint folder.</param>
/// <param name="Overwrite">Whether checkpoints of an earlier run may be removed.</param>
/// <param name="Listen">Where workers dial.</param>
/// <param name="LocalWorkers">Workers to start on this machine; null: all.</param>
internal sealed record TrainOptions(string ResumeCommand, string Resume, bool Overwrite, string Listen, int? LocalWorkers);
