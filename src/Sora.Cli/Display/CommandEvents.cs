using Sora.Protocol.Runs;

namespace Sora.Cli.Display;

/// <summary>How far a stage of the data preparation is. Total is null while unknown.</summary>
internal sealed record DataProgress(string Stage, long Done, long? Total, string Unit) : RunEvent;

/// <summary>The corpus is ready.</summary>
internal sealed record DataReady(string CorpusDir, string CorpusHash, long Documents, long TrainTokens, long ValidationTokens) : RunEvent;

/// <summary>What the trained model makes of a prompt.</summary>
internal sealed record TextSampled(string Prompt, string Text) : RunEvent;

/// <summary>The loss curve is drawn.</summary>
internal sealed record LossCurveDrawn(string Path) : RunEvent;
