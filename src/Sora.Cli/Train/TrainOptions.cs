namespace Sora.Cli.Train;

/// <summary>What <c>sora train</c> was asked besides the job.</summary>
/// <param name="ResumeCommand">The command that goes on with this run, to print when it ends early.</param>
/// <param name="Resume"><c>auto</c>, <c>true</c>, <c>false</c>, a checkpoint or a run's output folder.</param>
/// <param name="Overwrite">Whether checkpoints of an earlier run may be removed.</param>
/// <param name="Listen">Where workers dial.</param>
/// <param name="LocalWorkers">Workers to start on this machine; null: all, or none with coordinators elsewhere.</param>
/// <param name="Coordinators">Coordinators elsewhere that carry out the run; none: one in this process does.</param>
/// <param name="TokenFile">What is shown to them; null: the environment says it.</param>
internal sealed record TrainOptions(
    string ResumeCommand, string Resume, bool Overwrite, string Listen, int? LocalWorkers, IReadOnlyList<Uri> Coordinators, string? TokenFile);
