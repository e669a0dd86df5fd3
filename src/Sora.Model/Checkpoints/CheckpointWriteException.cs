using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints;

/// <summary>A checkpoint cannot be written where it belongs just now. Earlier ones are untouched, and trying again later makes sense.</summary>
public sealed class CheckpointWriteException(string message, Exception? inner = null) : SoraException(message, Sora.Protocol.Jobs.ExitCode.Failure, inner);
