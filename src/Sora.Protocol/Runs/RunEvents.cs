namespace Sora.Protocol.Runs;

/// <summary>Something that happened in a run, as shown to people and written as one JSON line by <c>--json</c>.</summary>
public abstract record RunEvent;

/// <summary>The run exists; nothing is computed yet.</summary>
public sealed record RunStarted(string Run, string Name, long FirstStep, long MaxSteps, int Workers, int Lanes, long Parameters, long TokensPerStep, string Device, string Dtype) : RunEvent;

/// <summary>A worker was let in.</summary>
public sealed record WorkerJoined(string Worker, string Host, int ProcessId, string Device, string Canary, bool NumericsDiffer) : RunEvent;

/// <summary>A worker was turned away; <paramref name="Reason"/> says why and what to do.</summary>
public sealed record WorkerRefused(string Worker, string Host, int ProcessId, string Reason) : RunEvent;

/// <summary>A worker takes no part any more; <paramref name="Reason"/> says why. The others go on with its lanes.</summary>
public sealed record WorkerLeft(string Worker, string Reason) : RunEvent;

/// <summary>The run waits: fewer workers are here than it needs to compute.</summary>
public sealed record RunWaiting(int Workers, int MinWorkers, long Step) : RunEvent;

/// <summary>Workers agreed on a membership.</summary>
public sealed record GenerationFormed(long Generation, IReadOnlyList<string> Workers, long FirstStep) : RunEvent;

/// <summary>A step was committed. Loss is the mean cross-entropy in nats per target token.</summary>
public sealed record StepCommitted(long Step, double Loss, double GradNorm, double LearningRate, double TokensPerSecond, int Workers, long Tokens, double ComputeSeconds, double ExchangeSeconds, double WaitForDataSeconds) : RunEvent;

/// <summary>An evaluation on held-out text ended.</summary>
public sealed record Evaluated(long Step, double EvalLoss, double Perplexity, double BitsPerByte, long Tokens) : RunEvent;

/// <summary>A checkpoint is complete on disk.</summary>
public sealed record CheckpointSaved(long Step, string Path, string WeightsSha256, double Seconds) : RunEvent;

/// <summary>Something a person should know that does not end the run.</summary>
public sealed record RunWarning(string Message) : RunEvent;

/// <summary>The run reached its last step.</summary>
public sealed record RunFinished(long Step, double Loss, double? EvalLoss, string WeightsSha256, string OutputDir) : RunEvent;

/// <summary>The run was asked to stop and can be resumed.</summary>
public sealed record RunStopped(long Step, string? Checkpoint, string Reason) : RunEvent;

/// <summary>The run ended with an error; <paramref name="Message"/> says what happened, where, and what to do.</summary>
public sealed record RunFailed(long Step, string Message, string? Worker, string? Checkpoint, int ExitCode) : RunEvent;
