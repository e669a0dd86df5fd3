using Sora.Protocol.Runs;

namespace Sora.Cli.Display;

/// <summary>How far a stage of the data preparation is. Total is null while unknown.</summary>
internal sealed record DataProgress(string Stage, long Done, long? Total, string Unit) : RunEvent;

/// <summary>The corpus is ready.</summary>
internal sealed record DataReady(string CorpusDir, string CorpusHash, long Documents, long TrainTokens, long ValidationTokens) : RunEvent;

/// <summary>Where workers dial, and the file that holds what they must show there.</summary>
internal sealed record CoordinatorListening(string Address, string TokenFile, string? Fingerprint = null) : RunEvent;

/// <summary>A worker of this machine died and is started again.</summary>
internal sealed record WorkerRestarting(string Worker, int ProcessId, string Reason, double DelaySeconds) : RunEvent;

/// <summary>A worker of this machine ended and is not started again; <paramref name="Why"/> is empty where it left in good order.</summary>
internal sealed record WorkerStaysDown(string Worker, int ProcessId, string Reason, string Why, string Log) : RunEvent;

/// <summary>What the trained model makes of a prompt.</summary>
internal sealed record TextSampled(string Prompt, string Text) : RunEvent;

/// <summary>The loss curve is drawn.</summary>
internal sealed record LossCurveDrawn(string Path) : RunEvent;
